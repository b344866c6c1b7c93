"""Which model: one of the template's, one of a library by its name, or a class of the user's own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scaffold.errors import BadAnswer
from scaffold.paths import template_root
from scaffold.questions.answer_types.base import AnswerType
from scaffold.questions.answer_types.own_class import OneOrOwn, OwnClass

if TYPE_CHECKING:
    from scaffold.questions.answers import Given
    from scaffold.questions.copier_yml import Question
    from scaffold.questions.form import Form
    from scaffold.questions.layer_groups import Model

TORCHVISION, TIMM = "torchvision", "timm"


class ModelName(OneOrOwn):
    """The model, with what is known of it; a task may have models that no other has. `efficientnet_b0` stands for
    `torchvision` and that name, `timm:NAME` alike."""

    def __init__(self, name: str, own_class: OwnClass, task: AnswerType, names: Mapping[str, "LibraryName"]) -> None:
        super().__init__(name, own_class)
        self.task = task
        self.names = names
        self.parts += [library.name for library in names.values()]

    def offers(self, choice: Any, context: Mapping[str, Any]) -> bool:
        """Those of another task are not shown."""
        return choice in context.get("known_models", [choice])

    def have_facts(self, form: "Form") -> bool:
        """Whether the template tells what it knows of each model; those from before 0.4 do not."""
        return f"{self.name}_facts" in form.questions

    def facts(self, form: "Form") -> dict[str, dict[str, Any]]:
        """What the template knows of each choice; of a library, of the model that is its default."""
        return {model: self.facts_for(form, model) for model in form.questions[self.name].values}

    def known(self, context: Mapping[str, Any]) -> tuple[str, "Model | None", bool]:
        """The model's name, what is known of it (none of a model of one's own), and whether it ends in a head."""
        # templates from before 0.4 know of all models in one place
        model = self.of(context)
        facts = context["model_facts"] if "model_facts" in context else context["catalogue"].get(model, {"layers": {}})
        return self.full_name(context), facts if facts["layers"] else None, context["has_head"]

    def full_name(self, answers: Mapping[str, Any]) -> str:
        """The model as one types it."""
        model = str(self.of(answers))
        library = self.names.get(model)
        return library.prefix + library.of(answers) if library else model

    def said(self, value: Any, context: Mapping[str, Any]) -> str:
        """That of a library by its name, where one is given."""
        library = self.names.get(str(value))
        if library and library.name in context:
            return library.prefix + str(context[library.name])
        return super().said(value, context)

    def catalogue(self, form: "Form") -> list[str]:
        """The names of the models whose layers are known here."""
        written = [name for name, facts in self.facts(form).items() if facts["layers"] and name not in self.names]
        return [*written, *(name for library in self.names.values() for name in library.known())]

    def facts_for(self, form: "Form", name: str) -> dict[str, Any]:
        """What is known of a model of the catalogue, with the first task that it goes with."""
        fact = form.questions[f"{self.name}_facts"]
        library = next((library for library, names in self.names.items() if name in names.known()), "")
        given = {self.name: library, self.names[library].name: name} if library else {self.name: name}
        for task in form.questions[self.task.name].values:
            try:
                context = form.fill({self.task.name: task, **given}, "p", until=fact.name)
            except BadAnswer:  # it is of another task
                continue
            if context[self.name] == given[self.name]:  # else the task asks for none
                return dict(form.default(fact, context))
        raise BadAnswer(f"no task has the model '{name}'")

    def take(self, given: "Given", value: Any, source: str) -> None:
        """Take a name of a library, or a class, for what it is."""
        for library, name in self.names.items():
            if value == library:
                given.forget(self.own_class.name)
                given.put(self.name, value, source)
                return
            given.forget(name.name)
            if name.has(str(value)):
                given.forget(self.own_class.name)
                given.put(name.name, str(value).removeprefix(f"{library}:"), source)
                given.put(self.name, library, source)
                return
        super().take(given, value, source)

    def clear(self, given: "Given", value: Any) -> None:
        """Another choice is of no class and no name, or of another one."""
        super().clear(given, value)
        for name in self.names.values():
            given.forget(name.name)

    def words(
        self, form: "Form", question: "Question", answers: Mapping[str, Any], context: Mapping[str, Any]
    ) -> list[str]:
        """A name of a library stands for itself."""
        if self.of(answers) in self.names:
            return [self.flag, self.full_name(answers)]
        return super().words(form, question, answers, context)

    def typed(self, choices: Sequence[str]) -> list[str]:
        """Those of a library are typed by their names."""
        written = {library: name.how for library, name in self.names.items()}
        return [written.get(choice, choice) for choice in super().typed(choices)]

    def near(self, choices: Sequence[str]) -> list[str]:
        """Every name there is, of the libraries among the choices as well."""
        named = [name for library in choices if library in self.names for name in self.names[library].known()]
        return [*super().near(choices), *named]


class LibraryName(AnswerType):
    """The name of a model in a library, which the flag of the model says too."""

    has_flag = False
    proposes_default = False

    def __init__(self, library: str, *, prefix: str, how: str) -> None:
        super().__init__(f"{library}_model", flag="--model", label=f"Of {library}")
        self.library, self.prefix, self.how = library, prefix, how

    def known(self) -> dict[str, int]:
        """The names that are known here, with the parameters of each; of a library with a prefix, none."""
        from scaffold.questions.copier_yml import read

        question = read(template_root())[1].get("torchvision_models")
        return question.default if question and not self.prefix else {}

    def has(self, value: str) -> bool:
        """Whether a model that is named is one of the library's."""
        return value.startswith(f"{self.library}:") or value in self.known()

    def completions(self, form: "Form", context: Mapping[str, Any]) -> list[str]:
        """The names that are known here."""
        return list(self.known())

    def words(
        self, form: "Form", question: "Question", answers: Mapping[str, Any], context: Mapping[str, Any]
    ) -> list[str]:
        """The model says it."""
        return []
