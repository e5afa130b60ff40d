"""A SLURM cluster of two nodes on this machine: munge, slurmctld and two slurmd's, for a test.

Node1 has a GPU, as far as SLURM knows: its device is /dev/null. There is no accounting. What is
started ends with the test, also when the test is killed; /etc/slurm, where SLURM's own jobs look
for the configuration, has links to it meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "setpriv")
ETC = Path("/etc/slurm")
NODES = ("node1", "node2")
CONF = """ClusterName=anchorbench
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=10
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SwitchType=switch/none
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SlurmdTimeout=300
MinJobAge=300
KillWait=5
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
NodeName=DEFAULT CPUs=4 RealMemory=8000
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} Gres=gpu:1
NodeName=node2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=cpu Nodes=node1,node2 Default=YES MaxTime=60 State=UP
PartitionName=plain Nodes=node2 MaxTime=60 State=UP
"""
GRES = "NodeName=node1 Name=gpu File=/dev/null\n"


def missing() -> str:
    """Why there can be no cluster here, "" where there can."""
    if absent := [name for name in PROGRAMS if not shutil.which(name)]:
        return f"no {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client munge"
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root"
    if (ETC / "slurm.conf").exists():
        return f"{ETC}/slurm.conf: this machine is of a cluster already"
    return ""


@dataclass
class Cluster:
    """A cluster that is up."""

    folder: Path
    daemons: dict[str, subprocess.Popen] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> None:
        """Start a daemon, which ends with this process."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def stop(self, name: str) -> None:
        """Stop a daemon."""
        daemon = self.daemons.pop(name)
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def lose(self, node: str) -> None:
        """Let a node go away as in a power cut: its daemon, and all that runs on it."""
        self.daemons[node].kill()
        self.daemons.pop(node).wait()
        end_what_runs_on(node)
        self.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=gone")

    def bring_back(self, node: str) -> None:
        """Let a lost node work again."""
        self.start(node, "slurmd", "-D", "-N", node)
        self.ask("scontrol", "update", f"nodename={node}", "state=resume")
        self.wait_idle()

    def wait_idle(self) -> None:
        """Wait until no node works. Raises TimeoutError."""
        idle = ("sinfo", "-h", "-N", "-p", "cpu", "-t", "idle", "-o", "%N")
        up = lambda: sorted(self.ask(*idle).split()) == list(NODES)  # noqa: E731
        wait_for(up, 40, "the nodes are not idle")

    def ask(self, *command: str) -> str:
        """What one of SLURM's programs prints."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """What scontrol knows of each job, the finished ones too."""
        lines = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        found = [dict(w.split("=", 1) for w in line.split() if "=" in w) for line in lines]
        return [job for job in found if "JobId" in job]

    def running(self, words: str) -> dict[str, str] | None:
        """The running job of a rule and its wildcards, as Snakemake wrote them in its comment."""
        for job in self.jobs():
            if job["JobState"] == "RUNNING" and words in job.get("Comment", ""):
                return job
        return None

    def log(self) -> str:
        """The ends of the daemons' logs."""
        return "\n".join(
            f"== {file.name}\n{file.read_text(errors='replace')[-2000:]}"
            for file in sorted(self.folder.glob("*.log"))
        )


def wait_for(what: Callable[[], object], seconds: float, about: str) -> object:
    """Wait until something is so; return it. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := what():
                return found
        except (OSError, subprocess.SubprocessError):
            pass
        time.sleep(0.2)
    raise TimeoutError(about)


def end_what_runs_on(node: str) -> None:
    """Kill a node's jobs: first what would tell the cluster of their end."""
    jobs, tellers = [], set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SLURMD_NODENAME") == node:
                jobs.append(process)
                parents = process.parents()
                tellers |= {p for p in parents if p.name() == "slurmstepd"}
    for process in [*tellers, *jobs]:
        with contextlib.suppress(psutil.Error):
            process.kill()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Have a cluster as long as the block lasts."""
    here = Cluster(folder)
    links = [ETC / "slurm.conf", ETC / "gres.conf"]
    try:
        _configure(folder, links)
        munge = folder / "munge"
        key, door = munge / "key", munge / "socket"
        here.start(
            "munged", "munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={door}", f"--pid-file={munge}/pid", f"--seed-file={munge}/seed",
            f"--log-file={folder}/munged.own.log",
        )  # fmt: skip
        wait_for(door.exists, 20, "munged has no socket")
        here.start("slurmctld", "slurmctld", "-D", "-c")
        for node in NODES:
            here.start(node, "slurmd", "-D", "-N", node)
        here.wait_idle()
        yield here
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{here.log()}") from error
    finally:
        _end(here)
        for link in links:
            link.unlink(missing_ok=True)


def _configure(folder: Path, links: list[Path]) -> None:
    ports = _free_ports(3)
    for name in ("state", "munge", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    (folder / "munge" / "key").write_bytes(os.urandom(1024))
    (folder / "munge" / "key").chmod(0o400)
    (folder / "munge").chmod(0o755)
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, ports=ports))
    (folder / "gres.conf").write_text(GRES)
    ETC.mkdir(exist_ok=True)
    for link in links:
        link.symlink_to(folder / link.name)


def _end(here: Cluster) -> None:
    """End all jobs, then all daemons."""
    if "slurmctld" in here.daemons:
        subprocess.run(["scancel", "-u", "root"], capture_output=True, timeout=20)
        empty = lambda: not here.ask("squeue", "-h", "-t", "R,CG").strip()  # noqa: E731
        try:
            wait_for(empty, 15, "jobs did not end")
        except TimeoutError as error:
            print(error)
    for name in [*reversed(NODES), "slurmctld", "munged"]:
        if name in here.daemons:
            here.stop(name)
        if name in NODES:
            end_what_runs_on(name)


def _free_ports(count: int) -> list[int]:
    doors = [socket.socket() for _ in range(count)]
    for door in doors:
        door.bind(("127.0.0.1", 0))
    ports = [door.getsockname()[1] for door in doors]
    for door in doors:
        door.close()
    return ports
