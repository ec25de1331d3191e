"""Words and names of the report, explained for a reader who knows none of its sources. A new term
or scenario is one entry."""

import pandas as pd

from lib.studies import ablation, cascade, herbert
from lib.studies.transfer_set import SHARES

TERMS = {
    "teacher, student": "The large model, and the smaller one that learns to answer as it does.",
    "distillation": "Training a student on its teacher's answers, beside or instead of the truth.",
    "hard target": "The true answer: here, the word that was hidden.",
    "soft target": "The teacher's answer: a probability for every word of the vocabulary.",
    "temperature": "T divides the scores before they become probabilities, the teacher's and the "
    "student's alike; the larger T, "
    "the more the unlikely words count.",
    "MLM": "Masked language modelling: hiding some words of a text and guessing them. How BERT is "
    "pretrained.",
    "cosine loss": "One less the cosine of the angle between the student's last hidden state and "
    "the teacher's.",
    "triple loss": "DistilBERT's: soft targets, MLM and cosine together.",
    "transfer set": "The text on which the student imitates its teacher.",
    "truncated": "Made of some of the teacher's layers as they are; as a scenario, our control: "
    "no training follows.",
    "hop, teacher assistant": "One distillation from a deeper to a shallower model; a model in "
    "between, student first and teacher "
    "then.",
    "cascade": "A chain of hops, each of which takes one layer away.",
    "layer mapping": "Which layer of the teacher, or which mean of layers, each layer of the "
    "student imitates.",
    "attention map": "How much each word of a sentence looks at each other word, in one head of "
    "one layer.",
    "fine-tuning": "Training on the labelled examples of one task, after which a model is scored "
    "on it.",
    "fine-tuning seed": "The random numbers of one fine-tuning: the order of the examples and the "
    "new head's weights. Every model "
    "is fine-tuned with several.",
    "± and [ ]": "The mean over fine-tuning seeds ± half of its 95 % t interval; in brackets the "
    "two ends of that interval.",
    "points": "Differences between scores in percent.",
    "paired difference": "The difference between two models with the same fine-tuning seed, "
    "averaged over seeds.",
    "sign-flip test": "How often differences as large would come of signs thrown by a coin: p. "
    "With few seeds p cannot be small.",
    "cannot be told apart": "The interval of the difference holds zero. It may be none, or too "
    "small for so few seeds.",
    "last epoch, best epoch": "Scores after all of the fine-tuning; and at its best moment on the "
    "very data that is scored, which "
    "flatters.",
    "KLEJ": "Polish tasks. PolEmo2.0: the sentiment of reviews, of the kinds trained on (IN) or "
    "of others (OUT). NKJP-NER: the "
    "kind of name in a sentence.",
    "GLUE, macro score": "Nine English tasks on sentences and pairs of them; the mean of their "
    "scores.",
    "SQuAD, EM, F1": "Finding the answer to a question in a passage: exact match, and overlap of "
    "words.",
    "XNLI, zero-shot transfer": "Whether one sentence follows from another, in many languages; "
    "trained in English alone.",
    "perplexity": "How many words a model hesitates between where one is hidden; lower is better.",
    "latency": "Seconds of one pass of one sequence through the encoder.",
    "tokens seen": "Words or pieces of words that a model has read in its training, repetitions "
    "counted.",
    "front": "The students that no other beats at once in score and in cost.",
    "toy language": "A made-up language with topics, sentiment, names and facts, so that a whole "
    "study runs in minutes.",
}
TRANSFER_SETS = {
    **{name: f"a random {share:g} % of the corpus" for name, share in SHARES.items()},
    "randomised": "the 10 % sample, the words of every sequence shuffled",
    "generated": "sequences drawn from the lengths and word frequencies of the 10 % sample",
    "bigram": "the same, each word drawn given the one before it",
}
CHAINS = {
    "cascade": "{n} layers, reached through assistants one layer apart",
    "direct": "{n} layers, reached in one hop (LightMBERT's way)",
    "truncated": "the teacher's lowest {n} layers as they are: the control",
}
TEACHER = "the teacher itself"
PUBLISHED = {name: "the published model, fine-tuned here" for name in ("DistilBERT", "DistilmBERT")}


def terms() -> pd.DataFrame:
    """Every term and its meaning."""
    return pd.DataFrame({"meaning": list(TERMS.values())}, index=pd.Index(list(TERMS), name="term"))


def scenarios(results: pd.DataFrame) -> pd.DataFrame:
    """Every scenario that was measured, by study, and what it is; a scenario of the user's own has
    a dash."""
    found = results[["study", "scenario", "layers"]].drop_duplicates(["study", "scenario"])
    rows = [
        (row.study, row.scenario, row.layers, meaning(row.study, row.scenario))
        for row in found.itertuples()
    ]
    frame = pd.DataFrame(rows, columns=["study", "scenario", "layers", "what it is"])
    return frame.set_index(["study", "scenario"])


def meaning(study: str, scenario: str) -> str:
    """A scenario in words."""
    if scenario == "teacher":
        return TEACHER
    if scenario in PUBLISHED:
        return PUBLISHED[scenario]
    if study == cascade.STUDY:
        chain, layers = cascade.parsed(scenario)
        return CHAINS.get(chain, f"{{n}} layers, by {chain}" if layers else "–").format(n=layers)
    known = {"herbert": herbert.ABOUT, "transfer_set": TRANSFER_SETS, "ablation": ablation.EVERY}
    return known.get(study, {}).get(scenario, "–")
