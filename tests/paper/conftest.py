"""These tests take minutes: `make test-paper` runs them, `make test` does not."""

import os

collect_ignore_glob = [] if os.environ.get("TEST_PAPER") else ["test_*.py"]
