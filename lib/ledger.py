"""The whole ledger. A claim is one entry in the list of its source; another study is another list here."""

from lib.claims import Claim
from lib.ledger_ablation import ABLATION
from lib.ledger_cascade import CASCADE
from lib.ledger_herbert import HERBERT
from lib.ledger_transfer_set import TRANSFER_SET

BY_STUDY: dict[str, list[Claim]] = {
    "herbert": HERBERT,
    "transfer_set": TRANSFER_SET,
    "ablation": ABLATION,
    "cascade": CASCADE,
}
CLAIMS = [claim for claims in BY_STUDY.values() for claim in claims]
