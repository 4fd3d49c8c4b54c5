from __future__ import annotations

import multiprocessing
import time

import pytest
import torch

from meddistill.training import memory
from meddistill.training.memory import forget_device_peak, peak_memory

CPU = torch.device("cpu")


def test_the_peak_holds_what_was_let_go():
    size = 200 * 2**20
    torch.ones(size, dtype=torch.uint8)
    assert size < peak_memory(CPU).process < 2**38


def test_workers_are_counted_while_they_live():
    assert peak_memory(CPU).workers == 0
    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,), daemon=True)
    worker.start()
    try:
        assert peak_memory(CPU).workers != 0
    finally:
        worker.kill()
        worker.join()


def test_without_a_table_of_processes_the_system_is_asked(monkeypatch):
    known = peak_memory(CPU).process
    monkeypatch.setattr(memory, "_resident", lambda _: None)
    assert peak_memory(CPU).process == pytest.approx(known, rel=0.2)


def test_a_processor_has_no_peak_of_its_own():
    forget_device_peak(CPU)
    assert peak_memory(CPU).device is None
