"""The whole ledger. A claim is one entry in the list of its source; another study is another list
here."""

from lib.report.claims import Claim
from lib.studies.ablation import ABLATION
from lib.studies.cascade import CASCADE
from lib.studies.herbert import HERBERT
from lib.studies.transfer_set import TRANSFER_SET

BY_STUDY: dict[str, list[Claim]] = {
    "herbert": HERBERT,
    "transfer_set": TRANSFER_SET,
    "ablation": ABLATION,
    "cascade": CASCADE,
}
CLAIMS = [claim for claims in BY_STUDY.values() for claim in claims]
