"""A choice among what the template has, or a class of the user's own, which is named by the same flag."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scaffold.questions.answer_types.base import AnswerType

if TYPE_CHECKING:
    from scaffold.questions.answers import Given
    from scaffold.questions.copier_yml import Question
    from scaffold.questions.form import Form

OWN = "own"


class OneOrOwn(AnswerType):
    """A choice; `package.module:Class` stands for `own`, and for the class of it."""

    def __init__(self, name: str, own_class: "OwnClass") -> None:
        super().__init__(name)
        self.own_class = own_class
        self.parts = [own_class.name]

    def take(self, given: "Given", value: Any, source: str) -> None:
        """Take a class for what it is."""
        if ":" in str(value):
            given.put(self.own_class.name, value, source)
            value = OWN
        elif value != OWN:
            given.forget(self.own_class.name)
        given.put(self.name, value, source)

    def clear(self, given: "Given", value: Any) -> None:
        """Another choice is of no class, or of another one."""
        given.forget(self.own_class.name)

    def words(
        self, form: "Form", question: "Question", answers: Mapping[str, Any], context: Mapping[str, Any]
    ) -> list[str]:
        """A class stands for itself."""
        if self.of(answers) == OWN:
            return [self.flag, self.own_class.of(answers)]
        return super().words(form, question, answers, context)

    def typed(self, choices: Sequence[str]) -> list[str]:
        """One's own is typed as its class."""
        return ["package.module:Class" if choice == OWN else choice for choice in choices]

    def said(self, value: Any, context: Mapping[str, Any]) -> str:
        """One's own by its class."""
        return str(context.get(self.own_class.name, value)) if value == OWN else str(value)

    def own_module(self, answers: Mapping[str, Any]) -> tuple[str, str] | None:
        """The module and the name of a class of one's own."""
        if answers.get(self.name) != OWN:  # a task may have one of its own
            return None
        module, _, name = self.own_class.of(answers).partition(":")
        return module, name


class OwnClass(AnswerType):
    """The class of one's own, which the flag of the choice says too."""

    has_flag = False

    def words(
        self, form: "Form", question: "Question", answers: Mapping[str, Any], context: Mapping[str, Any]
    ) -> list[str]:
        """The choice says it."""
        return []
