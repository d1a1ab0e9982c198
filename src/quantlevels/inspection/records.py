"""The JSON records that commands print with ``--json``, as types.

`to_record` methods are checked against these types, and `quantlevels.inspection.schema` derives the JSON Schemas from
them, so that a record is described once. Readers ignore keys that a later version adds.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypeAlias, TypedDict

from quantlevels.findings import Code, FindingRecord, Severity
from quantlevels.values.records import ValuesRecord

#: raised when a key changes its meaning or goes; a new key does not raise it
Version: TypeAlias = Literal[1]

#: constraints are keywords of JSON Schema, with their values
Count: TypeAlias = Annotated[int, ("minimum", 0)]
Ratio: TypeAlias = Annotated[float, ("minimum", 0)]


class LevelName(TypedDict):
    """A level in a few words; without a name where no known level is stored, which the label then describes."""

    level: str | None
    label: str
    bits_per_param: Count | None


class DeclaredLevelRecord(LevelName):
    """A level that a config declares, and for which modules; a group size of -1 is repeated as it stands there."""

    group_size: int | None
    block: list[Count] | None
    symmetric: bool | None
    bits_per_weight: Ratio | None
    targets: list[str] | None


class DeclaredRecord(TypedDict):
    """What config files or the header claim."""

    source: str
    method: str | None
    known: bool
    dtype: str | None
    kv_cache: str | None
    levels: list[DeclaredLevelRecord]


class StoredLevelRecord(LevelName):
    """Weights that are stored alike; ``bytes`` counts everything that belongs to their modules."""

    group_size: Count | None
    symmetric: bool | None
    quantized: bool
    parameters: Count
    weights: Count
    bytes: Count
    bits_per_weight: Ratio | None


class TallyRecord(TypedDict):
    """How many tensors, and their bytes."""

    tensors: Count
    bytes: Count


class StoredRecord(TypedDict):
    """What the tensor headers show. The bytes of levels, buffers and unexplained tensors add up to ``tensor_bytes``."""

    parameters: Count
    quantized_parameters: Count
    tensors: Count
    tensor_bytes: Count
    bits_per_weight: Ratio | None
    buffers: TallyRecord
    unexplained: TallyRecord
    levels: list[StoredLevelRecord]


class FileRecord(TypedDict):
    """A file that was read."""

    path: str
    bytes: Count


class ComponentRecord(TypedDict):
    """One model of several that belong together, by its path inside the folder."""

    path: str
    format: str
    declared: DeclaredRecord | None
    stored: StoredRecord | None


class TensorRecord(TypedDict):
    """A tensor as the header describes it; the shape counts stored elements, rows last."""

    name: str
    dtype: str
    shape: list[Count]
    bytes: Count


class WeightRecord(LevelName):
    """One weight, buffer or unexplained tensor, and the tensors it is stored in."""

    name: str
    account: Literal["weights", "buffers", "unexplained"]
    group_size: Count | None
    parameters: Count
    bytes: Count
    tensors: list[TensorRecord]


class InspectionRecord(TypedDict):
    """What a checkpoint declares, what it stores, and every disagreement: `quantlevels inspect --json`."""

    schema_version: Version
    path: str
    format: str
    declared: DeclaredRecord | None
    stored: StoredRecord | None
    components: NotRequired[list[ComponentRecord]]
    values: NotRequired[ValuesRecord]
    weights: NotRequired[list[WeightRecord]]
    findings: list[FindingRecord]
    files: list[FileRecord]


class VerificationRecord(InspectionRecord):
    """An inspection, and the findings that fail it: `quantlevels verify --json`."""

    verified: bool
    failures: list[FindingRecord]


class UnreadableRecord(TypedDict):
    """A path that could not be read, among several: `quantlevels inspect --json A B`."""

    path: str
    error: str


class TotalsRecord(TypedDict):
    """The totals of one side of a comparison."""

    path: str
    format: str
    parameters: Count
    quantized_parameters: Count
    tensors: Count
    tensor_bytes: Count
    bits_per_weight: Ratio | None


class LevelChangeRecord(TypedDict):
    """What one kind of storage takes on either side."""

    level: str
    group_size: Count | None
    bytes_before: Count
    bytes_after: Count


class StorageRecord(TypedDict):
    """How a weight is stored, apart from its size."""

    level: str
    group_size: Count | None
    symmetric: bool | None
    code_bits: Ratio | None


class WeightChangeRecord(TypedDict):
    """A weight that both sides have, but not alike; several entries where one side holds several tensors for it."""

    weight: str
    before: list[StorageRecord]
    after: list[StorageRecord]
    bytes_before: Count
    bytes_after: Count
    parameters_before: Count
    parameters_after: Count


class ComparisonRecord(TypedDict):
    """Two checkpoints, weight by weight: `quantlevels compare --json`."""

    schema_version: Version
    same: bool
    before: TotalsRecord
    after: TotalsRecord
    levels: list[LevelChangeRecord]
    changed: list[WeightChangeRecord]
    only_before: list[str]
    only_after: list[str]


class SizedLevelRecord(TypedDict):
    """The weights of one level in a checkpoint that is not made yet."""

    level: str
    group_size: Count | None
    parameters: Count
    weights: Count
    bytes: Count
    bits_per_weight: Ratio


class FallbackRecord(TypedDict):
    """A tensor that cannot have the level that was asked for, and the level it gets."""

    tensor: str
    columns: Count
    wanted: str
    given: str


class SizingRecord(TypedDict):
    """The size of a checkpoint before it is made: `quantlevels size --json`."""

    schema_version: Version
    level: str
    scheme: str | None
    recipe: str | None
    exact: bool
    parameters: Count
    tensor_bytes: Count
    bits_per_weight: Ratio
    levels: list[SizedLevelRecord]
    fallbacks: list[FallbackRecord]


class CandidateRecord(TypedDict):
    """What the weights take in one way of storing them; the margin is negative if the devices do not hold it."""

    name: str
    level: str | None
    scheme: str | None
    bytes: Count
    exact: bool
    margin_bytes: int
    fits: bool
    devices_needed: Count


class FitRecord(TypedDict):
    """What fits into memory: `quantlevels fit --json`."""

    schema_version: Version
    memory_bytes: Count
    devices: Count
    budget_bytes: Count
    levels: list[CandidateRecord]


class BlockRecord(TypedDict):
    """The storage cell of a level: so many weights in so many bits, and bits that each row takes beside its blocks."""

    weights: Count
    bits: Count
    row_bits: NotRequired[Count]


class LevelDescription(TypedDict):
    """All that is known of one level."""

    name: str
    label: str
    bits_per_param: Count
    bits_per_weight: Ratio
    memory_reduction_factor: Ratio
    exact_reduction_factor: Ratio
    block: BlockRecord
    kind: str
    aliases: list[str]
    spellings: dict[str, list[str | int]]
    summary: str
    source: str


class LevelRecord(LevelDescription):
    """One level: `quantlevels show --json`."""

    schema_version: Version


class LevelsRecord(TypedDict):
    """Several levels: `quantlevels list --json`."""

    schema_version: Version
    levels: list[LevelDescription]


class TranslationRecord(TypedDict):
    """A level's name in another naming system, or why it has none: `quantlevels translate --json`."""

    schema_version: Version
    level: str
    dialect: str
    spelling: str | int | None
    reason: str | None


class ExplanationRecord(TypedDict):
    """What a finding means and what to do: `quantlevels explain --json`."""

    schema_version: Version
    code: Code
    slug: str
    severity: Severity
    text: str


class PluginRecord(TypedDict):
    """One entry point of an installed distribution, its state, and what to do where it is in trouble."""

    distribution: str
    version: str
    group: str
    entry: str
    value: str
    editable: bool
    state: str
    reason: str
    seconds: Ratio | None
    remedy: str


class PluginsRecord(TypedDict):
    """All plugins: `quantlevels plugins --json`."""

    schema_version: Version
    plugins: list[PluginRecord]


class SurveyDeclaredLevelRecord(TypedDict):
    """A level that a checkpoint of a survey declares."""

    level: str | None
    bits_per_param: Count | None
    group_size: int | None
    bits_per_weight: Ratio | None
    targets: list[str] | None


class SurveyRow(TypedDict):
    """One checkpoint of a survey: `quantlevels survey --format ndjson`, a row per line.

    What is not known is null: the totals of a checkpoint that cannot be read, which has ``error`` instead.
    """

    schema_version: Version
    root: str
    store: str
    name: str
    path: str
    revision: str | None
    version: str
    format: str | None
    method: str | None
    declared_dtype: str | None
    declared_levels: list[SurveyDeclaredLevelRecord]
    levels: list[StoredLevelRecord]
    parameters: Count | None
    quantized_parameters: Count | None
    tensors: Count | None
    tensor_bytes: Count | None
    buffer_bytes: Count | None
    unexplained_bytes: Count | None
    file_bytes: Count
    files: Count | None
    bits_per_weight: Ratio | None
    findings: list[FindingRecord]
    same_as: str | None
    error: str | None
    error_type: str | None
    requests: Count
    bytes_read: Count
    seconds: Ratio
    surveyed_at: str
