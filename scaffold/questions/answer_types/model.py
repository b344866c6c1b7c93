"""Which model: one of the catalogue, or a class of the user's own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaffold.questions.answer_types.own_class import OneOrOwn

if TYPE_CHECKING:
    from scaffold.questions.layer_groups import Model


class ModelName(OneOrOwn):
    """The model, with what is known of it."""

    def known(self, context: Mapping[str, Any]) -> tuple[str, "Model | None", bool]:
        """The model's name, what is known of it (none of a model of one's own), and whether it ends in a head."""
        model = self.of(context)
        # templates from before 0.4 know of all models in one place
        facts = context["model_facts"] if "model_facts" in context else context["catalogue"].get(model, {"layers": {}})
        return model, facts if facts["layers"] else None, context["has_head"]
