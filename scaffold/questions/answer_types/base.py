"""How the answers to a question are given, checked, shown and written: by the type that copier.yml gives it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scaffold.questions.numbers import number

if TYPE_CHECKING:
    from scaffold.questions.answers import Given
    from scaffold.questions.copier_yml import Question
    from scaffold.questions.form import Form


class AnswerType:
    """The answers to one question, as they are typed, recorded and shown. A question with a grammar of its own, or which
    others depend on, has a class of its own: nothing else in torch-scaffold knows it by its name."""

    # what stands in the help for an answer
    metavar = ""
    # whether some elements of a list make sense without the others
    has_parts = True
    # whether --help and `scaffold list options` show a flag for it
    has_flag = True
    # whether the default may be proposed in place of an answer that is refused
    proposes_default = True

    def __init__(self, name: str, *, flag: str = "", label: str = "") -> None:
        self.name = name
        self.flag = flag or "--" + name.replace("_", "-")
        self.label = label or name.replace("_", " ").capitalize()
        self.parts: list[str] = []  # questions that the same words answer

    def of(self, answers: Mapping[str, Any]) -> Any:
        """The answer among others."""
        return answers[self.name]

    # ON THE COMMAND LINE

    def take(self, given: "Given", value: Any, source: str) -> None:
        """Take an answer over those given before, with what it implies."""
        given.put(self.name, value, source)

    def clear(self, given: "Given", value: Any) -> None:
        """Give up answers given before that this one makes void."""

    def settle(self, given: "Given", value: Any) -> None:
        """Have the last word among the answers of one file."""

    def check_flags(self, said: Mapping[str, Any]) -> None:
        """Refuse what contradicts it among the flags."""

    def words(
        self, form: "Form", question: "Question", answers: Mapping[str, Any], context: Mapping[str, Any]
    ) -> list[str]:
        """The flags for an answer; none where another flag implies it."""
        if question.type == "bool":
            return [self.flag if self.of(answers) else self.flag.replace("--", "--no-", 1)]
        return [word for text in self.write(form, question, self.of(answers), context) for word in (self.flag, text)]

    def typed(self, choices: Sequence[str]) -> list[str]:
        """The choices as they are typed."""
        return list(choices)

    def said(self, value: Any, context: Mapping[str, Any]) -> str:
        """An answer as a person typed it."""
        return str(value)

    def near(self, choices: Sequence[str]) -> list[str]:
        """The words among which one is proposed in the place of a misspelt one."""
        return self.typed(choices)

    def how_to_type(self, form: "Form") -> str:
        """How an answer that is no choice is typed, for `scaffold list options`."""
        return ""

    def completions(self, form: "Form", context: Mapping[str, Any]) -> list[str]:
        """Words that complete an answer while it is typed."""
        return []

    def offers(self, choice: Any, context: Mapping[str, Any]) -> bool:
        """Whether a person is shown a choice at all; one that cannot be taken now is shown with the reason."""
        return True

    # AS A VALUE

    def read(self, form: "Form", value: Any, context: Mapping[str, Any]) -> Any:
        """An answer as it is typed, as the value that is recorded; any other value as it is."""
        return value

    def write(self, form: "Form", question: "Question", value: Any, context: Mapping[str, Any]) -> list[str]:
        """An answer as one would type it, in words."""
        if question.type == "bool":
            return ["yes" if value else "no"]
        if question.type == "yaml":
            return value or ["none"]
        return [number(value) if question.type == "float" else str(value)]

    def chosen(self, value: Any) -> list[Any]:
        """The choices that an answer is made of."""
        return [value]

    def facts(self, form: "Form") -> dict[str, dict[str, Any]]:
        """What the template knows of each choice, from the file beside it."""
        fact, choices = form.questions[f"{self.name}_facts"], form.questions[self.name].values
        return {choice: form.default(fact, form.fill({self.name: choice}, "p", until=fact.name)) for choice in choices}
