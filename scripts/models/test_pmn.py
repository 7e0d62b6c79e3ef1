"""The chunked state space equals the step-by-step scan. Run: `python test_pmn.py` (exit code 0 or 1)
or `python -m pytest test_pmn.py`."""

import torch

from pmn import chunked_scan, scan_reference

TOLERANCE = 1e-4


def error_of_chunked_scan(length: int, chunk: int, seed: int) -> float:
    """Largest absolute difference on random tensors of two sequences, three heads."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(2, length, 3, 8, generator=random)
    log_decay = -torch.rand(2, length, 3, generator=random)
    b = torch.randn(2, length, 4, generator=random)
    c = torch.randn(2, length, 4, generator=random)
    fast = chunked_scan(x, log_decay, b, c, chunk)
    return float((fast - scan_reference(x, log_decay, b, c)).abs().max())


def test_chunked_scan_equals_reference():
    for seed, (length, chunk) in enumerate([(72, 72), (144, 72), (216, 72), (64, 4), (8, 1)]):
        error = error_of_chunked_scan(length, chunk, seed)
        assert error <= TOLERANCE, f"length {length}, chunk {chunk}: error {error}"


if __name__ == "__main__":
    test_chunked_scan_equals_reference()
    print(f"chunked scan equals the step-by-step scan within {TOLERANCE}")
