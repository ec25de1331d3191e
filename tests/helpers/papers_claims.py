"""The claims of the papers' studies."""

from lib.report.section import claims_of
from lib.studies import registry

BY_STUDY = claims_of(registry.declared(registry.WITH_METHOD), "tiny")
CLAIMS = [claim for claims in BY_STUDY.values() for claim in claims]
BY_ID = {claim.id: claim for claim in CLAIMS}
