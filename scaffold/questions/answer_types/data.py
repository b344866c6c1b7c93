"""Which data: one of the template's sources, or a class of the user's own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scaffold.questions.answer_types.own_class import OneOrOwn

if TYPE_CHECKING:
    from scaffold.questions.form import Form


class DataSource(OneOrOwn):
    """The data, with what is known of them."""

    def sample(self, form: "Form", answers: Mapping[str, Any]) -> str:
        """What `predict` can be asked of, in the sample data of the project's tests."""
        return str(form.fill(answers, "p")["data_facts"]["sample"]["input"])

    def targets(self, form: "Form", answers: Mapping[str, Any]) -> str:
        """What the data have to give: classes, numbers or labels."""
        return str(form.fill(answers, "p")["task_facts"]["targets"])
