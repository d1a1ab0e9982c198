"""Many checkpoints at once: one row for each that a tree, a cache or a store holds."""

from quantlevels.inspection.records import SurveyRow as SurveyRow
from quantlevels.survey.stores import default_roots as default_roots
from quantlevels.survey.surveying import key_of as key_of
from quantlevels.survey.surveying import survey as survey

__all__ = ["SurveyRow", "default_roots", "key_of", "survey"]
