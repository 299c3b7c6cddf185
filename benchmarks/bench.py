"""`make bench`: siptrail, sngrep and tshark read the same capture in turn; rates, ratios and peak memory are printed.

Owns: running each program as a user would and measuring it from outside. Must not: import siptrail for the measured
work, or decide anything: it prints, it never fails because a machine is slow. A program that is not installed, or a
measurement that this version cannot make, is named as such in the output.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHUNK = 4096
LOOK_UPS = 25


@dataclass(frozen=True)
class Run:
    """One process, as the kernel counted it."""

    name: str
    wall: float
    cpu: float
    peak_mb: float
    failed: str = ""


def measure(name: str, command: list[str], log: Path) -> Run:
    """Runs the command to its end with nothing on standard input; its output goes to `log`."""
    with log.open("wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    failed = ""
    if process.returncode != 0:
        tail = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
        failed = f"exit {process.returncode}: {tail[0]}"
    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    unit = 1024 if sys.platform != "darwin" else 1024 * 1024
    return Run(name, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit, failed)


def siptrail_command() -> list[str]:
    beside = Path(sys.executable).with_name("siptrail")
    if beside.exists():
        return [str(beside)]
    found = shutil.which("siptrail")
    return [found] if found else [sys.executable, "-c", "from siptrail.cli import main; main()"]


def other_commands(capture: Path, messages: int) -> Iterator[tuple[str, list[str]]]:
    """What the other programs run to read the whole file without a screen."""
    # sngrep keeps 20,000 dialogs unless told otherwise; every call of the file must count.
    yield "sngrep", ["sngrep", "-F", "-N", "-q", "-l", str(max(messages, 20_000)), "-I", str(capture)]
    yield "tshark", ["tshark", "-n", "-r", str(capture), "-q", "-z", "sip,stat"]


def call_ids(capture: Path, wanted: int) -> list[str]:
    """Call-IDs from all over the file: the first after each of `wanted` evenly spaced places."""
    found: list[str] = []
    size = capture.stat().st_size
    with capture.open("rb") as file:
        for number in range(wanted):
            file.seek(24 + (size - 24) * number // wanted)
            _, _, rest = file.read(CHUNK).partition(b"\r\nCall-ID: ")
            if b"\r\n" in rest:
                found.append(rest.partition(b"\r\n")[0].decode("ascii"))
    return found


def folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


@contextmanager
def workplace(keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="siptrail-bench-"))
    try:
        yield folder
    finally:
        if keep:
            print(f"\nkept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def generate(capture: Path, messages: int, *options: str) -> None:
    command = [sys.executable, str(HERE / "generate.py"), "--messages", str(messages), "-o", str(capture), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def report_rates(runs: list[Run], rounds: dict[str, list[Run]], messages: int) -> None:
    """A line each; how much faster siptrail is: with its start-up, and handed to a running service."""
    served = next((run for run in runs if run.name == "into a service" and not run.failed), None)
    ours = next((run for run in runs if run.name == "siptrail import" and not run.failed), None)
    print(f"\n{'':<16}{'wall s':>9}{'from to':>14}{'cpu s':>8}{'messages/s':>13}{'peak MB':>9}   siptrail is")
    for run in runs:
        if run.failed:
            print(f"{run.name:<16}failed: {run.failed}")
            continue
        ratio = f"{run.wall / ours.wall:.1f} x as fast" if ours and run not in (ours, served) else ""
        if ratio and served:
            ratio += f", {run.wall / served.wall:.1f} x where its service runs"
        rate = messages / run.wall
        walls = [one.wall for one in rounds[run.name]]
        said = f"{run.name:<16}{run.wall:>9.2f}{f'{min(walls):.2f} {max(walls):.2f}':>14}{run.cpu:>8.2f}"
        print(f"{said}{rate:>13,.0f}{run.peak_mb:>9.0f}   {ratio}".rstrip())


def last_word(done: subprocess.CompletedProcess[str]) -> str:
    """What a helper script said, or why it could not."""
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or ["no output"]
    return lines[-1] if done.returncode == 0 else f"failed: {lines[-1]}"


def report_look_ups(siptrail: list[str], store: Path, ids: list[str], log: Path) -> None:
    """Finding one call by its Call-ID, as a whole process and inside one that has the store open."""
    if not ids:
        print("look-up by Call-ID: not measured, no Call-ID in the capture")
        return
    whole = [measure("show", [*siptrail, "show", "--store", str(store), "--", i], log) for i in ids[:3]]
    failed = next((run.failed for run in whole if run.failed), "")
    said = failed or f"{1000 * middle([run.wall for run in whole]):.0f} ms"
    print(f"look-up by Call-ID, `siptrail show` with its start-up: {said}")
    inside = subprocess.run(
        [sys.executable, str(HERE / "look_up.py"), str(store), *ids], capture_output=True, text=True, check=False
    )
    print(f"look-up by Call-ID, in an open store: {last_word(inside)}")


def report_first_screen(siptrail: list[str], capture: Path) -> None:
    """The terminal UI is watched on a terminal of its own until it has drawn a call."""
    command = [sys.executable, str(HERE / "first_screen.py"), *siptrail, "tui", str(capture)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    print(f"first calls on the screen, `siptrail tui FILE` with its start-up: {last_word(done)}")


def into_service(siptrail: list[str], capture: Path, folder: Path) -> Run:
    """The same import, handed to a service that runs already; processor time and memory are the service's."""
    name, command = "into a service", [*siptrail, "run", "--source", "ring", "-i", "lo", "--listen", "127.0.0.1:8997"]
    log = (folder / "service.log").open("wb")
    service = subprocess.Popen([*command, "--store", str(folder / "service-store")], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while b"web page" not in (folder / "service.log").read_bytes():
            if service.poll() is not None or time.monotonic() > until:
                return Run(name, 0, 0, 0, "the service did not start")
            time.sleep(0.2)
        time.sleep(2)
        before = cpu_seconds(service.pid)
        run = measure(name, [*siptrail, "import", str(capture), "--url", "http://127.0.0.1:8997"], folder / "log")
        cpu = run.cpu + cpu_seconds(service.pid) - before
        status = Path(f"/proc/{service.pid}/status").read_text()
        peak = int(next(x for x in status.splitlines() if x.startswith("VmHWM")).split()[1]) / 1024
        return Run(name, run.wall, cpu, peak, run.failed)
    finally:
        service.terminate()
        service.wait(60)
        log.close()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(siptrail: list[str], capture: Path, store: Path, messages: int, folder: Path, rounds: int) -> list[Run]:
    """siptrail and the others on the same file in turn, round after round; of each the run in the middle."""
    others = list(other_commands(capture, messages))
    found: dict[str, list[Run]] = {}
    for _ in range(rounds):
        shutil.rmtree(store, ignore_errors=True)
        shutil.rmtree(folder / "service-store", ignore_errors=True)
        importing = [*siptrail, "import", str(capture), "--store", str(store)]
        runs = [measure("siptrail import", importing, folder / "log")]
        if sys.platform.startswith("linux"):
            runs.append(into_service(siptrail, capture, folder))
        runs += [measure(name, other, folder / f"{name}.log") for name, other in others if shutil.which(other[0])]
        for run in runs:
            found.setdefault(run.name, []).append(run)
    middle_runs = [
        next((run for run in runs if run.failed), sorted(runs, key=lambda run: run.wall)[len(runs) // 2])
        for runs in found.values()
    ]
    report_rates(middle_runs, found, messages)
    for name, other in others:
        if not shutil.which(other[0]):
            print(f"{name:<16}not installed")
    return middle_runs


def bench(messages: int, keep: bool, rounds: int) -> None:
    siptrail = siptrail_command()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, ", end="")
    print(f"Python {platform.python_version()}")
    with workplace(keep) as folder:
        capture, small, store, log = (folder / name for name in ("calls.pcap", "small.pcap", "store", "log"))
        generate(capture, messages)
        size = capture.stat().st_size
        print(f"{messages:,} messages, {size / 1e6:,.0f} MB, {size / messages:.0f} bytes a message")

        # The kernels are compiled once for a user and then loaded from a cache: that once is shown apart.
        generate(small, 1000)
        first = measure("first", [*siptrail, "import", str(small), "--store", str(folder / "small-store")], log)
        said = first.failed or f"{first.wall:.2f} s (compiles its kernels, if never run before)"
        print(f"siptrail import of 1,000 messages: {said}")

        runs = compare(siptrail, capture, store, messages, folder, rounds)
        with_tcp = folder / "tcp.pcap"
        generate(with_tcp, messages // 4, "--tcp")
        print(f"\nthe same over TCP, {messages // 4:,} messages:", end="")
        compare(siptrail, with_tcp, folder / "tcp-store", messages // 4, folder, rounds)
        print()
        if runs[0].failed:
            print("stored size, look-ups: not measured, because the import failed")
        else:
            stored = folder_size(store)
            share = f"1/{size / stored:.1f} of the capture" if stored else "nothing"
            print(f"stored: {stored / 1e6:,.1f} MB, {stored / messages:.0f} bytes a message, {share}")
            report_look_ups(siptrail, store, call_ids(capture, LOOK_UPS), log)
        report_first_screen(siptrail, capture)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure siptrail, sngrep and tshark on the same capture.")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="how often each program runs; the middle one counts")
    parser.add_argument("--keep", action="store_true", help="keep the capture, the store and the programs' output")
    chosen = parser.parse_args()
    if min(chosen.messages, chosen.rounds) < 1:
        parser.error("--messages and --rounds must be at least 1")
    bench(chosen.messages, chosen.keep, chosen.rounds)


if __name__ == "__main__":
    main()
