"""Which model: one of the catalogue, or a class of the user's own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaffold.errors import BadAnswer
from scaffold.questions.answer_types.base import AnswerType
from scaffold.questions.answer_types.own_class import OneOrOwn, OwnClass

if TYPE_CHECKING:
    from scaffold.questions.form import Form
    from scaffold.questions.layer_groups import Model


class ModelName(OneOrOwn):
    """The model, with what is known of it; a task may have models that no other has."""

    def __init__(self, name: str, own_class: OwnClass, task: AnswerType) -> None:
        super().__init__(name, own_class)
        self.task = task

    def offers(self, choice: Any, context: Mapping[str, Any]) -> bool:
        """Those of another task are not shown."""
        return choice in context.get("known_models", [choice])

    def facts(self, form: "Form") -> dict[str, dict[str, Any]]:
        """What the template knows of each model, with the first task that it goes with."""
        fact, found = form.questions[f"{self.name}_facts"], {}
        for task in form.questions[self.task.name].values:
            for model in form.questions[self.name].values:
                if model not in found:
                    try:
                        context = form.fill({self.task.name: task, self.name: model}, "p", until=fact.name)
                    except BadAnswer:  # it is of another task
                        continue
                    if context[self.name] == model:  # else the task asks for none
                        found[model] = form.default(fact, context)
        return {model: found[model] for model in form.questions[self.name].values}

    def known(self, context: Mapping[str, Any]) -> tuple[str, "Model | None", bool]:
        """The model's name, what is known of it (none of a model of one's own), and whether it ends in a head."""
        model = self.of(context)
        # templates from before 0.4 know of all models in one place
        facts = context["model_facts"] if "model_facts" in context else context["catalogue"].get(model, {"layers": {}})
        return model, facts if facts["layers"] else None, context["has_head"]
