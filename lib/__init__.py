"""Distilling BERT: what the six notebooks share. Import modules one by one (`from lib import losses`): importing is kept cheap."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout. Every relative path in a parameter file is relative to it, wherever a notebook was started."""
OUTPUTS = ROOT / "outputs"
