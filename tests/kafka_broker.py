"""A Kafka broker in a process of its own: librdkafka's, with real sockets on loopback, and faults on demand.

It forgets everything with its process, keeps 5 MB of each partition, does not mark an aborted transaction
(whose messages stay visible), and does not know a message that is sent again.
"""

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Broker:
    """A running broker; `address` is what clients need."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.address = process.stdout.readline().strip()

    def tell(self, *words: object) -> None:
        """One of the commands of `serve`, done when this returns."""
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "done"


@contextmanager
def running_broker() -> Iterator[Broker]:
    """A broker that ends with the block."""
    command = [sys.executable, __file__]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield Broker(process)
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def serve() -> None:
    """Obey ``topic NAME PARTITIONS``, ``down``, ``up``, ``rtt MS``, ``at HOST PORT`` (tell clients so)."""
    import confluent_kafka

    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(folder.glob("librdkafka-*"))))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    client = library.rd_kafka_new(0, ctypes.c_void_p(library.rd_kafka_conf_new()), None, 0)
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(ctypes.c_void_p(client), 1))
    sys.stdout.write(library.rd_kafka_mock_cluster_bootstraps(cluster).decode() + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "topic":
            library.rd_kafka_mock_topic_create(cluster, rest[0].encode(), int(rest[1]), 1)
        elif word == "down":
            library.rd_kafka_mock_broker_set_down(cluster, 1)
        elif word == "up":
            library.rd_kafka_mock_broker_set_up(cluster, 1)
        elif word == "rtt":
            library.rd_kafka_mock_broker_set_rtt(cluster, 1, int(rest[0]))
        elif word == "at":
            library.rd_kafka_mock_broker_set_host_port(cluster, 1, rest[0].encode(), int(rest[1]))
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
