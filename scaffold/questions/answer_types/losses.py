"""Losses and their weights: `NAME=WEIGHT NAME` to the list that is recorded, and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaffold.errors import BadAnswer, did_you_mean
from scaffold.questions.answer_types.base import AnswerType
from scaffold.questions.numbers import number, read_number

if TYPE_CHECKING:
    from scaffold.questions.copier_yml import Question
    from scaffold.questions.form import Form


class Losses(AnswerType):
    """One loss or several, each with its weight; which ones there are depends on the task."""

    metavar = "NAME[=WEIGHT]"

    def __init__(self, name: str, task: AnswerType, *, flag: str) -> None:
        super().__init__(name, flag=flag)
        self.task = task

    def read(self, form: "Form", value: Any, context: Mapping[str, Any]) -> Any:
        """Losses as typed (a line, or a list of such) as the list that is recorded; any other value as it is."""
        typed = value.split() if isinstance(value, str) and not value.lstrip().startswith("[") else value
        if not isinstance(typed, list | tuple) or not all(isinstance(loss, str) for loss in typed):
            return value
        known = self.known(form, context)
        losses: list[dict[str, Any]] = []
        for word in [word for loss in typed for word in loss.split()]:
            name, _, weight = word.partition("=")
            if name not in known:
                offered = [one for one in known if "now" not in context.get("known_losses", {}).get(one, {})]
                raise BadAnswer(
                    f"there is no loss '{name}'" + did_you_mean(name, offered), help=f"there is   {', '.join(offered)}"
                )
            if name in [loss["name"] for loss in losses]:
                raise BadAnswer(f"loss '{name}' is given twice", help="keep one")
            found = read_number(weight if "=" in word else "1")
            if found is None or not 0 < found < 1_000_000:
                raise BadAnswer(
                    f"the weight in '{word}' is not a number above 0 and below 1000000",
                    help=f"for example   {self.flag} {name}=0.5",
                )
            losses.append({"name": name, "weight": found})
        return losses

    def write(self, form: "Form", question: "Question", value: Any, context: Mapping[str, Any]) -> list[str]:
        """Each loss with its weight."""
        return [f"{loss['name']}={number(loss['weight'])}" for loss in value]

    def chosen(self, value: Any) -> list[Any]:
        """Their names."""
        return [loss["name"] for loss in value] if value else super().chosen(value)

    def how_to_type(self, form: "Form") -> str:
        """The names there are."""
        return " ".join(["NAME or NAME=WEIGHT:", *self.facts(form)])

    def completions(self, form: "Form", context: Mapping[str, Any]) -> list[str]:
        """The losses that go with the task."""
        return self.fitting(form, context)

    def known(self, form: "Form", context: Mapping[str, Any]) -> list[str]:
        """The losses that can be named, whether they go with the task or not."""
        if "known_losses" in context:
            return list(context["known_losses"])
        return list(form.variable("template/macros/losses.jinja", "known"))  # of a template from before 0.4

    def fitting(self, form: "Form", context: Mapping[str, Any]) -> list[str]:
        """The losses that go with the task, its default first."""
        return context.get("fitting_losses") or self.known(form, context)

    def before(self, form: "Form", task: Any) -> dict[str, Any]:
        """What a task alone decides of them."""
        return form.fill({self.task.name: task}, "p", until=self.name)

    def have_facts(self, form: "Form") -> bool:
        """Whether the template tells what it knows of each loss; those from before 0.4 do not."""
        return "known_losses" in form.questions

    def facts(self, form: "Form") -> dict[str, dict[str, Any]]:
        """What the template knows of each loss, of all tasks."""
        found: dict[str, dict[str, Any]] = {}
        for task in form.questions[self.task.name].values:
            found.update(self.facts_for(form, task))
        return found

    def facts_for(self, form: "Form", task: Any) -> dict[str, dict[str, Any]]:
        """What the template knows of each loss where this is the task, which may have its own of a name."""
        known: dict[str, dict[str, Any]] = self.before(form, task)["known_losses"]
        return known
