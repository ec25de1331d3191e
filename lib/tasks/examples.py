"""What a fine-tuning learns from and is measured on: which tasks share their training data, and the
examples as tokens."""

from dataclasses import replace

from lib.tasks import spans
from lib.tasks.encoding import Encoded, encode
from lib.tasks.registry import TASKS, TaskSource, evaluated_in, validations
from lib.tasks.registry import load as load_task

Validation = dict[tuple[str, str], Encoded | spans.Windows]
"""A task's validation sets by language and by what their metrics' names end in."""


def settings(p, name: str):
    """The parameters of one task: those of the stage, with its own in their place."""
    return p.model_copy(update=p.per_task.get(name, {}))


def shared_training(p) -> dict[str, list[str]]:
    """Tasks that are fine-tuned together, by the first of them: those that use the same training
    data, as many examples of it, and the same values in `per_task`."""
    groups: dict[str, list[str]] = {}
    for name in p.tasks:
        alike = (first for first in groups if _training(p, first) == _training(p, name))
        groups.setdefault(next(alike, name), []).append(name)
    return groups


def _training(p, name: str) -> tuple:
    """All that the training of a task hangs on: whose data, how many examples, and the task's own
    values."""
    return owner(p, name), examples_of(p, name), p.per_task.get(name, {})


def owner(p, name: str) -> str:
    """The task whose training data a task uses, itself or another. The toy tasks have a say of
    their own."""
    if p.task_source == "toy":
        from lib.data.toy.tasks import TOY_TASKS

        return TOY_TASKS[name].trains_on or name
    return TASKS[name].trains_on or name


def examples_of(p, name: str) -> int:
    """How many training examples a task uses, 0 for all: the number for the task itself, else for
    the one it borrows from."""
    if isinstance(p.train_examples, int):
        return p.train_examples
    return p.train_examples.get(name, p.train_examples.get(owner(p, name), 0))


def encoded(
    p, names: list[str], tokenizer, segments: bool
) -> tuple[Encoded, dict[str, Validation]]:
    """The training examples that the tasks `names` share, and each task's validation sets."""
    source = TaskSource(
        p.task_source, folder=p.task_folder, language=p.task_language, revisions=p.task_revisions
    )

    def read(name: str, split: str, source: TaskSource, limit: int):
        examples = load_task(name, split, source, limit, to_learn=split == "train")
        if TASKS[name].kind == "span":
            return spans.windows(
                examples,
                tokenizer,
                max_length=p.max_length,
                doc_stride=p.doc_stride,
                max_question_length=p.max_question_length,
                segments=segments,
            )
        return encode(examples, tokenizer, p.max_length, segments)

    training = read(names[0], "train", source, examples_of(p, names[0]))
    return training.encoded if isinstance(training, spans.Windows) else training, {
        name: {
            (language, ending): read(
                name, split, replace(source, language=language), p.validation_examples
            )
            for language in evaluated_in(name, source, p.languages)
            for split, ending in validations(name, source).items()
        }
        for name in names
    }
