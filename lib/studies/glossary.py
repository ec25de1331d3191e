"""Terms and scenarios of the report, explained for readers who know none of its sources."""

import pandas as pd

from lib.report import tables
from lib.report.section import Analysis
from lib.report.statistics import MATTERS_NATS
from lib.report.wording import MATTERING

TERMS = {
    "teacher, student": "The large model, and the smaller one that is trained to imitate it.",
    "distillation": "Training a student on its teacher's answers, with or without the true ones.",
    "hard target": "The true answer: here, the masked word.",
    "soft target": "The teacher's answer: a probability for every word of the vocabulary.",
    "temperature": "T divides the scores of teacher and student before they become probabilities. "
    "The larger T, the more unlikely words count.",
    "MLM": "Masked language modelling: predicting masked words. How BERT is pretrained.",
    "cosine loss": "1 − the cosine of the angle between the last hidden states of student and "
    "teacher.",
    "triple loss": "DistilBERT's: soft targets, MLM and cosine together.",
    "transfer set": "The text on which a student is distilled.",
    "truncated": "Made of some of the teacher's layers, unchanged. As a scenario: a control, "
    "without further pretraining.",
    "hop, teacher assistant": "One distillation from a deeper to a shallower model; a model in "
    "between, first a student, then a teacher.",
    "cascade": "A chain of hops, each of which removes one layer.",
    "layer mapping": "Which layer of the teacher, or which mean of layers, each layer of the "
    "student imitates.",
    "attention map": "How much each word of a sentence attends to every other, in one head of one "
    "layer.",
    "fine-tuning": "Training on the labelled examples of a task, before a model is scored on it.",
    "fine-tuning seed": "Determines which labelled examples are drawn, their order, and the new "
    "head's initial weights.",
    "repeat, run": "A repeat trains the student anew with other random numbers (initial weights, "
    "masks, order of the text, dropout), the same in every scenario, and fine-tunes it with seeds "
    "of its own. A run is a repeat; where there is only one, a fine-tuning seed.",
    "± and [ ]": "Mean over runs ± half of its 95 % interval; in brackets, the ends of that "
    "interval. It covers other runs and other test examples (two-way analysis of variance, "
    "Satterthwaite's degrees of freedom); that of a difference knows of the variance between runs "
    "from all comparisons of its study (Smyth 2004).",
    "points": "Differences between scores in percent.",
    "paired difference": "The difference between two models in the same run and on the same test "
    "examples, averaged over runs.",
    "p": "How often a difference as large would occur by chance if there were none.",
    "p of a claim": "The same, corrected for the number of claims of its study (Holm); other p "
    "values are not.",
    "cannot be told apart": "The interval of the difference includes zero: there is no difference, "
    "or it is too small for so few runs and examples.",
    "takes 20 repeats": "This run is too small for a claim: it would miss a difference as large as "
    "matters more often than one time in five. With so many repeats it would not.",
    "takes more examples": "The same, where no number of repeats would do, only a larger test set.",
    "by less than matters": "The verdict is certain, but the difference is under "
    f"{MATTERING} or {MATTERS_NATS:g} nats, unless the claim names another.",
    "last epoch, best epoch": "Scores at the end of fine-tuning; scores at its best epoch, chosen "
    "on the data that is scored, which flatters.",
    "KLEJ": "Polish tasks. PolEmo2.0: sentiment of reviews, from the domains of training (IN) or "
    "from others (OUT). NKJP-NER: the kind of name in a sentence.",
    "GLUE, macro score": "Nine English tasks on sentences and pairs of them; the mean of their "
    "scores.",
    "SQuAD, EM, F1": "Finding the answer to a question in a passage; exact match, and overlap of "
    "words.",
    "XNLI, zero-shot transfer": "Whether one sentence follows from another, in many languages; "
    "fine-tuned in English alone.",
    "held-out loss, nats": "The MLM loss on text that is kept out of the students' training; lower "
    "is better. 0.02 nats are 2 % of perplexity.",
    "perplexity": "Among how many words a model hesitates at a masked word; lower is better.",
    "latency": "Seconds that the encoder takes for one sequence.",
    "tokens seen": "Words or word pieces read in training, repetitions included.",
    "front": "Students that no other student beats in both score and cost.",
    "toy language": "An invented language with topics, sentiment, names and facts, so that a whole "
    "study runs in minutes. toy-es stands in for Spanish, es, and so on.",
}


OF_CLAIMS = ("p of a claim", "takes 20 repeats", "takes more examples", "by less than matters")
OF_PAPERS = ("KLEJ", "GLUE, macro score", "SQuAD, EM, F1", "XNLI, zero-shot transfer")
OF_PAPERS += ("toy language", "triple loss", "cascade")
OF_CHAINS = ("hop, teacher assistant",)
"""The terms that only claims, the papers' studies and chains of hops use."""


def terms(analysis: Analysis) -> pd.DataFrame:
    """Every term that the report uses, and its meaning."""
    unused = () if any(analysis.claims.values()) else OF_CLAIMS
    studies = analysis.studies.values()
    if not any(study.source for study in studies):
        unused += OF_PAPERS
    if not any("hop" in entry for study in studies for entry in study.scenarios.values()):
        unused += OF_CHAINS
    meanings = {term: meaning for term, meaning in TERMS.items() if term not in unused}
    return pd.DataFrame({"meaning": meanings}).rename_axis("term")


def scenarios(analysis: Analysis) -> pd.DataFrame:
    """Every scenario that was measured, by study, and what it is."""
    rows = []
    for study in analysis.studies.values():
        own = analysis.final[analysis.final["study"] == study.name]
        layers = own.groupby("scenario")["layers"].max()
        rows += [
            (study.short, name, layers[name], study.label(name) or "–")
            for name in tables.scenarios_of(study, analysis.final)
        ]
    columns = ["study", "scenario", "layers", "what it is"]
    return pd.DataFrame(rows, columns=columns).set_index(["study", "scenario"])
