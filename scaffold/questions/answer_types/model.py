"""Which model: one of the catalogue, or a class of the user's own, which is named by the same flag."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scaffold.questions.answer_types.base import AnswerType

if TYPE_CHECKING:
    from scaffold.questions.answers import Given
    from scaffold.questions.copier_yml import Question
    from scaffold.questions.form import Form
    from scaffold.questions.layer_groups import Model

OWN = "own"


class ModelName(AnswerType):
    """The model; `package.module:Class` stands for `own`, and for the class of it."""

    def __init__(self, name: str, own_class: "ModelClass") -> None:
        super().__init__(name)
        self.own_class = own_class

    def take(self, given: "Given", value: Any, source: str) -> None:
        """Take a class for what it is."""
        if ":" in str(value):
            given.put(self.own_class.name, value, source)
            value = OWN
        elif value != OWN:
            given.forget(self.own_class.name)
        given.put(self.name, value, source)

    def clear(self, given: "Given", value: Any) -> None:
        """Another model is of no class, or of another one."""
        given.forget(self.own_class.name)

    def words(
        self, form: "Form", question: "Question", answers: Mapping[str, Any], context: Mapping[str, Any]
    ) -> list[str]:
        """A class stands for itself."""
        if self.of(answers) == OWN:
            return [self.flag, self.own_class.of(answers)]
        return super().words(form, question, answers, context)

    def typed(self, choices: Sequence[str]) -> list[str]:
        """One's own model is typed as its class."""
        return ["package.module:Class" if choice == OWN else choice for choice in choices]

    def own_module(self, answers: Mapping[str, Any]) -> tuple[str, str] | None:
        """The module and the name of the class of one's own model."""
        if self.of(answers) != OWN:
            return None
        module, _, name = self.own_class.of(answers).partition(":")
        return module, name

    def known(self, context: Mapping[str, Any]) -> tuple[str, "Model | None", bool]:
        """The model's name, what is known of it (none of a model of one's own), and whether it ends in a head."""
        model = self.of(context)
        # templates from before 0.4 know of all models in one place
        facts = context["model_facts"] if "model_facts" in context else context["catalogue"].get(model, {"layers": {}})
        return model, facts if facts["layers"] else None, context["has_head"]


class ModelClass(AnswerType):
    """The class of one's own model, which the flag of the model says too."""

    has_flag = False

    def words(
        self, form: "Form", question: "Question", answers: Mapping[str, Any], context: Mapping[str, Any]
    ) -> list[str]:
        """The model says it."""
        return []
