"""The questions that torch-scaffold knows by name, each with what is special about its answers. Of all others it knows
what copier.yml says."""

from scaffold.questions.answer_types.base import AnswerType
from scaffold.questions.answer_types.data import DataSource
from scaffold.questions.answer_types.distributed import Distributed
from scaffold.questions.answer_types.groups import GroupsFrom, LayerGroups, LayersToSkip
from scaffold.questions.answer_types.losses import Losses
from scaffold.questions.answer_types.model import TIMM, TORCHVISION, LibraryName, ModelName
from scaffold.questions.answer_types.names import ProjectName
from scaffold.questions.answer_types.own_class import OwnClass

PROJECT = ProjectName("project_name", flag="--name", label="Name")
PACKAGE = AnswerType("package_name", flag="--package")
TASK = AnswerType("task")
DATA_CLASS = OwnClass("data_class", flag="--data")
DATA = DataSource("data", DATA_CLASS)
LOSSES = Losses("losses", TASK, flag="--loss")
MODEL_CLASS = OwnClass("model_class", flag="--model")
TORCHVISION_MODEL = LibraryName(TORCHVISION, prefix="", how="torchvision-name")
TIMM_MODEL = LibraryName(TIMM, prefix="timm:", how="timm:name")
MODEL = ModelName("model", MODEL_CLASS, TASK, {TORCHVISION: TORCHVISION_MODEL, TIMM: TIMM_MODEL})
WEIGHTS = AnswerType("weights")
WEIGHTS_FILE = AnswerType("weights_file")
WEIGHTS_SKIP = LayersToSkip("weights_skip", MODEL)
GROUPS_FROM = GroupsFrom("groups_from", label="Layers learn")
LAYER_GROUPS = LayerGroups("layer_groups", MODEL, GROUPS_FROM, flag="--group")
LR = AnswerType("lr", label="Learning rate")
CLIP = AnswerType("clip", label="Clipping")
DISTRIBUTED = Distributed("distributed")
PRECISION = AnswerType("precision")
_LABELLED = (
    AnswerType("warmup", label="Warm-up"),
    AnswerType("accumulate", label="Parts of batch"),
    AnswerType("ema", label="EMA"),
    AnswerType("ci", label="CI"),
    AnswerType("license", label="Licence"),
)
_KNOWN = {kind.name: kind for kind in [*globals().values(), *_LABELLED] if isinstance(kind, AnswerType)}


def type_of(question: str) -> AnswerType:
    """What kind of answers a question has."""
    return _KNOWN.get(question) or AnswerType(question)
