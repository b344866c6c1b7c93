"""Which layers learn at which rate: a way to group them, the groups themselves, and the layers that take no weights.

The rules of names and paths are in `scaffold.questions.layer_groups`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaffold.errors import BadAnswer
from scaffold.questions import layer_groups
from scaffold.questions.answer_types.base import AnswerType
from scaffold.questions.answer_types.model import ModelName
from scaffold.questions.answer_types.own_class import OWN

if TYPE_CHECKING:
    from scaffold.questions.answers import Given
    from scaffold.questions.copier_yml import Question
    from scaffold.questions.form import Form


class LayerGroups(AnswerType):
    """The groups that are named one by one, which is a way to group layers."""

    metavar = "NAME=MULT"
    has_parts = False  # together they hold every layer

    def __init__(self, name: str, model: ModelName, way: "GroupsFrom", *, flag: str) -> None:
        super().__init__(name, flag=flag)
        self.model, self.way = model, way
        way.groups = self

    def take(self, given: "Given", value: Any, source: str) -> None:
        """Groups that are named are one's own."""
        given.put(self.way.name, OWN, source)
        given.put(self.name, value, source)

    def read(self, form: "Form", value: Any, context: Mapping[str, Any]) -> Any:
        """`backbone=0.1 head=1` as lists of layers."""
        return layer_groups.read_groups(value, *self.model.known(context))

    def write(self, form: "Form", question: "Question", value: Any, context: Mapping[str, Any]) -> list[str]:
        """The shortest way that is read back as the same."""
        return layer_groups.write_groups(value, *self.model.known(context))

    def how_to_type(self, form: "Form") -> str:
        """The two ways to write a group."""
        return "NAME=MULT or NAME:LAYER+LAYER=MULT (scaffold list groups MODEL)"

    def completions(self, form: "Form", context: Mapping[str, Any]) -> list[str]:
        """The names that the model gives, and its layers."""
        return layer_groups.names_of(*self.model.known(context)[1:])


class GroupsFrom(AnswerType):
    """The way in which layers are grouped: by a strategy, or `own`, which needs the groups."""

    groups: LayerGroups

    def take(self, given: "Given", value: Any, source: str) -> None:
        """A strategy makes groups that were named void."""
        self.clear(given, value)
        given.put(self.name, value, source)

    def clear(self, given: "Given", value: Any) -> None:
        """A strategy makes groups that were named void."""
        if value != OWN:
            given.forget(self.groups.name)

    def settle(self, given: "Given", value: Any) -> None:
        """A strategy stands, also where the groups that it makes are written out beside it."""
        if value != OWN:
            given.values[self.name] = value

    def check_flags(self, said: Mapping[str, Any]) -> None:
        """One's own groups have to be named, and no others can be."""
        way = said.get(self.name)
        if way == OWN and self.groups.name not in said:
            raise BadAnswer(
                f"{self.flag} own needs the groups",
                at=self.flag,
                help=f"name them, for example   {self.groups.flag} backbone=0.1 {self.groups.flag} head=1",
            )
        if way is not None and way != OWN and self.groups.name in said:
            raise BadAnswer(
                f"{self.flag} {way} and {self.groups.flag} contradict each other",
                at=self.flag,
                help="keep one of them",
            )

    def words(
        self, form: "Form", question: "Question", answers: Mapping[str, Any], context: Mapping[str, Any]
    ) -> list[str]:
        """Groups that are named say it."""
        return [] if self.of(answers) == OWN else super().words(form, question, answers, context)


class LayersToSkip(AnswerType):
    """The layers that take nothing from a file of weights; `none` is none of them."""

    metavar = "LAYER"

    def __init__(self, name: str, model: ModelName) -> None:
        super().__init__(name)
        self.model = model

    def read(self, form: "Form", value: Any, context: Mapping[str, Any]) -> Any:
        """`head layer4` as their paths."""
        return layer_groups.read_skip(value, *self.model.known(context))

    def how_to_type(self, form: "Form") -> str:
        """How layers are named."""
        return "LAYER or none"

    def completions(self, form: "Form", context: Mapping[str, Any]) -> list[str]:
        """The names that the model gives, and its layers."""
        return layer_groups.names_of(*self.model.known(context)[1:])
