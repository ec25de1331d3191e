"""What a task gives away without a pretrained model: the scores of guessing, and of a bag of words.

A model that is not above both says nothing about pretraining on that task. Both learn from the
examples that a model is fine-tuned on, and are scored on the same ones by the same metrics.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import hstack, spmatrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from tokenizers import PreTokenizedString
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from lib.tasks import metrics
from lib.tasks.examples import Examples, TaskSource, settled
from lib.tasks.finetune import read_examples
from lib.tasks.parameters import Finetune
from lib.tasks.registry import Task

CHANCE, BAG_OF_WORDS = "chance", "bag of words"
MOST_EXAMPLES = 20_000
"""A bag of words learns from no more than these, drawn at random, so that a task of the hub's size
takes seconds."""

_LOWER_CASE, _SPLIT = BertNormalizer(strip_accents=False), BertPreTokenizer()
Piece = tuple[str, tuple[int, int]]
Predict = Callable[[Sequence[tuple[str, ...]]], Sequence]
"""Texts, as in `Examples`, to a class id, a number, an answer or the class ids of its words for
each."""


def baselines(p: Finetune, names: list[str]) -> list[dict]:
    """Rows of scenario (CHANCE or BAG_OF_WORDS), task, language, metric and value (percent), for
    tasks that share their training data, see lib.tasks.finetune.shared_training. Of a sample they
    learn from that of the first seed."""
    p = settled(p)
    task_of = TaskSource.of(p).task
    task = task_of(names[0])
    training, validation = read_examples(p, names, p.seeds[0])
    rows = []
    for scenario, predict in (
        (CHANCE, guess(training, task)),
        (BAG_OF_WORDS, bag_of_words(training, task)),
    ):
        for name in names:
            for (language, suffix), examples in validation[name].items():
                predicted = predict(examples.texts)
                for metric, value in score_texts(task_of(name), predicted, examples.labels).items():
                    row = {"scenario": scenario, "task": name, "language": language}
                    rows.append({**row, "metric": metric + suffix, "value": value})
    return rows


def score_texts(task: Task, predicted: Sequence, labels: Sequence) -> dict[str, float]:
    """Each metric of the task, in percent."""
    if task.kind == "span":
        labels = [gold.texts for gold in labels]
    return metrics.score(task, predicted, labels)


# ----------------------------------------------------------------------------------------- guessing


def guess(training: Examples, task: Task) -> Predict:
    """The one answer to every text that scores best on the training examples: for accuracy the most
    frequent class, for a number the mean. For spans a word of the context, drawn at random, always
    the same. For words with classes the most frequent class for each."""
    if task.kind == "span":
        return _random_words
    if task.tags:
        ((most, _),) = Counter(tag for own in training.labels for tag in own).most_common(1)
        return lambda texts: [[most] * len(sentence) for sentence in texts]
    if task.kind == "regression":
        best = np.mean(training.labels)
    else:
        # by frequency, so that a metric that is 0 for every single answer takes the first
        classes = [label for label, _ in Counter(training.labels).most_common()]
        best = max(classes, key=lambda label: _constant_score(task, label, training.labels))
    return lambda texts: [best] * len(texts)


def _constant_score(task: Task, label: int, labels: Sequence[int]) -> float:
    return float(np.mean(list(score_texts(task, [label] * len(labels), labels).values())))


def _random_words(texts: Sequence[tuple[str, ...]]) -> list[str]:
    rng = np.random.default_rng(0)
    return [str(rng.choice(context.split() or [""])) for _, context in texts]


# ------------------------------------------------------------------------------------- bag of words


def bag_of_words(training: Examples, task: Task) -> Predict:
    """Logistic regression over words and pairs of neighbouring words, weighted by tf-idf; for a
    number ridge regression. Pairs of texts have those of each text, and how far the words of the
    two overlap. For spans see `closest_words`, for words with classes `frequent_tags`."""
    training = _at_most(training, MOST_EXAMPLES)
    if task.tags:
        return frequent_tags(training)
    if task.kind == "span":
        return closest_words(training)
    if len(set(training.labels)) == 1:  # nothing to tell apart
        return guess(training, task)
    features = _features(training.texts)
    # sklearn's C = 1 learns too little from the long reviews of PolEmo2.0, C = 10 loses nowhere
    # more than two or three points
    model = Ridge() if task.kind == "regression" else LogisticRegression(C=10, max_iter=2000)
    model.fit(features(training.texts), training.labels)
    return lambda texts: model.predict(features(texts))


def _at_most(examples: Examples, number: int) -> Examples:
    if len(examples.labels) <= number:
        return examples
    chosen = np.random.default_rng(0).choice(len(examples.labels), number, replace=False)
    return Examples([examples.texts[i] for i in chosen], [examples.labels[i] for i in chosen])


def _features(
    training: Sequence[tuple[str, ...]],
) -> Callable[[Sequence[tuple[str, ...]]], spmatrix]:
    """A function from texts to [texts, features], with the vocabulary of the training texts."""
    vectorizers = [
        TfidfVectorizer(analyzer=ngrams).fit(column) for column in zip(*training, strict=True)
    ]
    is_pair = len(vectorizers) == 2
    scaler = StandardScaler().fit(overlaps(training)) if is_pair else None

    def features(texts: Sequence[tuple[str, ...]]) -> spmatrix:
        columns = zip(vectorizers, zip(*texts, strict=True), strict=True)
        blocks = [vectorizer.transform(column) for vectorizer, column in columns]
        if scaler:
            blocks.append(scaler.transform(overlaps(texts)))
        return hstack(blocks, format="csr")

    return features


def ngrams(text: str) -> list[str]:
    """The words of a text and its pairs of neighbours, with marks for beginning and end."""
    marked = ["^", *words(text), "$"]
    return marked + [" ".join(pair) for pair in zip(marked, marked[1:])]


def overlaps(texts: Sequence[tuple[str, ...]]) -> np.ndarray:
    """[pairs, 5]: the number of different words that both texts have; their share of the words of
    both together (Jaccard), of the first and of the second text; and how many words longer the
    first is."""
    rows = []
    for first, second in texts:
        first, second = words(first), words(second)
        a, b = set(first), set(second)
        shared = len(a & b)
        shares = [shared / max(1, len(whole)) for whole in (a | b, a, b)]
        rows.append([shared, *shares, len(first) - len(second)])
    return np.array(rows, dtype=float)


def closest_words(training: Examples) -> Predict:
    """The answer to a question by its words alone: of the sentence that shares most with the
    question, the rarest words that the question does not have.

    Words count by their idf in the training contexts; the answer has as many words as most answers
    in training, fewer where the sentence has no run of so many. "" where it has none.
    """
    contexts = [context for _, context in training.texts]
    vectorizer = TfidfVectorizer(analyzer=words).fit(contexts)
    idf = dict(zip(vectorizer.get_feature_names_out(), vectorizer.idf_, strict=True))
    unseen = float(np.log(len(contexts) + 1) + 1)  # by the same formula
    lengths = Counter(len(words(gold.texts[0])) for gold in training.labels)
    length = lengths.most_common(1)[0][0]

    def weight(some: Sequence[str]) -> float:
        return sum(idf.get(word, unseen) for word in some)

    def answer(question: str, context: str) -> str:
        asked = set(words(question))
        sentences = _sentences(words_in_place(context))
        best = max(sentences, key=lambda s: weight(asked & {word for word, _ in s}), default=[])
        for size in range(length, 0, -1):
            runs = [best[i : i + size] for i in range(len(best) - size + 1)]
            runs = [run for run in runs if all(w not in asked and w.isalnum() for w, _ in run)]
            if runs:
                rarest = max(runs, key=lambda run: weight([word for word, _ in run]))
                return context[rarest[0][1][0] : rarest[-1][1][1]]
        return ""

    return lambda texts: [answer(*pair) for pair in texts]


def frequent_tags(training: Examples) -> Predict:
    """For each word the class that it has most often in training; for one that is not there, the
    most frequent class of all."""
    counts: dict[str, Counter] = {}
    for sentence, tags in zip(training.texts, training.labels):
        for word, tag in zip(sentence, tags):
            counts.setdefault(word, Counter())[tag] += 1
    ((most, _),) = sum(counts.values(), Counter()).most_common(1)
    best = {word: own.most_common(1)[0][0] for word, own in counts.items()}
    return lambda texts: [[best.get(word, most) for word in sentence] for sentence in texts]


def _sentences(pieces: list[Piece]) -> list[list[Piece]]:
    """Cut after every full stop, question mark and exclamation mark."""
    sentences: list[list[Piece]] = [[]]
    for piece in pieces:
        sentences[-1].append(piece)
        if piece[0] in ".?!。":
            sentences.append([])
    return sentences


def words(text: str) -> list[str]:
    """Words and punctuation marks as BERT splits them, in lower case. A Chinese character is a
    word."""
    return [word for word, _ in words_in_place(text)]


def words_in_place(text: str) -> list[Piece]:
    """Each of `words` with its first character in the text, and the first after it."""
    pieces = PreTokenizedString(text)
    pieces.normalize(_LOWER_CASE.normalize)
    _SPLIT.pre_tokenize(pieces)
    splits = pieces.get_splits(offset_referential="original", offset_type="char")
    return [(word, place) for word, place, _ in splits]
