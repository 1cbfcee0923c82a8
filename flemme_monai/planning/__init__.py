"""From a data set to a plan: its fingerprint, the rules, the settings of a bundle with their reasons, a report."""

from .bundle import planned_bundle, write_planned
from .cases import CaseRecord, read_case
from .fingerprint import MODALITIES, DataFingerprint, read_data_set
from .plan import Plan, check_same_data, read_plan, write_plan
from .planner import check_request, make_plan
from .report import write_report

__all__ = [
    "MODALITIES",
    "CaseRecord",
    "DataFingerprint",
    "Plan",
    "check_request",
    "check_same_data",
    "make_plan",
    "planned_bundle",
    "read_case",
    "read_data_set",
    "read_plan",
    "write_plan",
    "write_planned",
    "write_report",
]
