"""Avro schemas with numbers, as files: ``schemas/ids/N`` below a folder, as a schema registry serves them.

Any web server that serves the folder is a registry that Confluent's readers can ask.
"""

import json
import os
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from zsds.core.errors import BadInput
from zsds.core.schema_evolution import schema_name, unreadable
from zsds.io.files import write_bytes

FOLDER = "schemas/ids"


@dataclass(frozen=True)
class Registered:
    """A schema with its number; ``name`` is the record's full name, whose versions belong together."""

    number: int
    text: str

    @cached_property
    def schema(self) -> Any:
        """The schema as JSON object."""
        return json.loads(self.text)

    @cached_property
    def name(self) -> str:
        """Full name of the record."""
        return schema_name(self.schema)


class Registry:
    """Schemas of a folder; several processes may register at once.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder) / FOLDER
        self._known: dict[int, Registered] = {}
        self._numbers: dict[str, int] = {}

    def schemas(self) -> list[Registered]:
        """All schemas in order of their numbers."""
        numbers = sorted(int(path.name) for path in self.folder.glob("*") if path.name.isdigit())
        return [self.schema(number) for number in numbers]

    def schema(self, number: int) -> Registered:
        """The schema of a number.

        Raises
        ------
        BadInput
            If there is none, or its file is damaged.
        """
        if number not in self._known:
            path = self.folder / str(number)
            try:
                self._known[number] = Registered(number, str(json.loads(path.read_bytes())["schema"]))
                _ = self._known[number].name
            except OSError as error:
                problem = f"holds no schema {number}"
                raise BadInput(str(self.folder), problem, "name the registry of the publisher") from error
            except (ValueError, TypeError, LookupError) as error:
                raise BadInput(str(path), "is not a registered schema", "restore it from a backup") from error
        return self._known[number]

    def number(self, text: str) -> int:
        """Number of a schema; one that is new is registered.

        Raises
        ------
        BadInput
            If readers of an older version could not read what is written with it.
        """
        if text not in self._numbers:
            self._numbers[text] = self._numbered(text)
        return self._numbers[text]

    def _numbered(self, text: str) -> int:
        schema = json.loads(text)
        while True:
            known = self.schemas()
            for one in known:
                if one.schema == schema:
                    return one.number
            self.require_readable(text)
            number = known[-1].number + 1 if known else 1
            if self._added(number, text):
                return number

    def require_readable(self, text: str, source: str = "schema") -> list[int]:
        """Make sure that readers of every registered version can read what is written with a schema.

        Returns
        -------
        list of int
            Numbers of the versions it was compared with.

        Raises
        ------
        BadInput
            If one cannot, naming the first field.
        """
        try:
            schema = json.loads(text)
            name = schema_name(schema)
        except Exception as error:  # whatever a parser finds in a file that is no schema
            raise BadInput(source, "is not an Avro schema", "give a file of JSON") from error
        versions = [one for one in self.schemas() if one.name == name]
        for one in versions:
            obstacles = unreadable(one.schema, schema)
            if obstacles:
                problem = f"cannot be read with version {one.number} of {name}: {obstacles[0]}"
                more = f" (and {len(obstacles) - 1} more)" if len(obstacles) > 1 else ""
                raise BadInput(
                    source, problem + more, "keep the fields that readers know, or rename the record"
                )
        return [one.number for one in versions]

    def _added(self, number: int, text: str) -> bool:
        """Whether a number was free; a link to a whole file appears at once or not at all."""
        whole = self.folder / f".{number}.{os.getpid()}-{threading.get_ident()}"
        write_bytes(whole, json.dumps({"schema": text}).encode())
        try:
            (self.folder / str(number)).hardlink_to(whole)
        except FileExistsError:
            return False
        finally:
            whole.unlink()
        return True
