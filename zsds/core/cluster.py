"""What a run asks of a cluster: how many workers, how large, for how long; beside the units' own settings."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SlurmSettings:
    """The jobs that hold workers on Slurm."""

    partition: str = ""  # where jobs go; empty for Slurm's default
    account: str = ""  # who pays for them; empty for the user's default
    walltime_min: int = 240  # minutes after which Slurm ends a job; its workers stop before and are replaced
    workers_per_job: int = 1  # one core each; more where jobs get whole nodes
    directives: tuple[str, ...] = ()  # more options of sbatch, such as [--qos=night, --constraint=avx2]
    prologue: tuple[str, ...] = ()  # shell lines before the workers, such as [module load python/3.11]
    interface: str = ""  # network on which workers reach this machine, such as ib0; empty for the default
    scratch: str = ""  # folder on the nodes for what Dask keeps; empty for their temporary folder
    tls: bool = True  # certificates made for the run, so that nobody else on the network can give work


@dataclass(frozen=True)
class KubernetesSettings:
    """The pods that hold workers on Kubernetes."""

    namespace: str = ""  # empty for that of the context or pod the command runs in
    image: str = "zsds:latest"  # with the same version of zsds as this
    claim: str = "zsds-archive"  # persistent volume claim that holds the archive
    mount: str = ""  # where pods see the claim; empty for the folder above the archive
    template: str = ""  # YAML file of a DaskCluster to use in place of the one that comes with zsds


@dataclass(frozen=True)
class ClusterSettings:
    """Workers of a run; ``min_workers`` and ``max_workers`` are of Slurm and Kubernetes."""

    min_workers: int = 1  # kept as long as a run lasts
    max_workers: int = 64  # as many as there is work for, up to this; --workers takes its place
    memory_gb: float = 4.0  # of each worker; one that takes more is ended, and its unit tried again
    deaths: int = 1  # of its worker that a unit survives; a unit with more is tried once more, alone
    wait_s: float = 600.0  # without any worker, after which a run ends
    slurm: SlurmSettings = field(default_factory=SlurmSettings)
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)
