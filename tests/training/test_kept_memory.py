"""What a training and an encoder tell the C library about memory: freed blocks stay, and are not mapped anew."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from seit.device import keep_memory

if "keep" in sys.argv:
    keep_memory()

def batch():
    for size in (64, 40, 64):
        torch.zeros(size << 18)  # float32, so `size` MiB

for _ in range(8):  # until blocks that are a few bytes too small to be taken again have larger ones beside them
    batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(*arguments: str) -> int:
    run = [sys.executable, "-c", PROGRAM, *arguments]
    return int(subprocess.run(run, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_batch_finds_the_memory_of_those_before() -> None:
    pages = (64 << 20) // 65536  # of the largest page size that Linux uses
    assert _faults() > pages, "glibc keeps large blocks by itself: keep_memory has become superfluous"
    assert _faults("keep") < pages / 10
