"""What a sample of the training rows costs: the error on the same test rows of models fitted on fewer of them."""

from collections.abc import Iterator

from lifecycle.data.rows import Rows, Sample, read_rows
from lifecycle.evaluate import predict_rows
from lifecycle.metrics import load_metrics
from lifecycle.params import Params
from lifecycle.paths import TEST, TRAIN
from lifecycle.predictor import Predictor
from lifecycle.train import convert_model, fit_model
from tests.bench.line import Line

SHARES = (0.1, 0.5)


def measure_sample(params: Params) -> Iterator[Line]:
    """Fit on samples as train.max_rows takes them, and hold their first metric against that of all rows."""
    domain = params.load_domain()
    metric = load_metrics(params.evaluate.metrics, domain)[0]
    test = read_rows(TEST)

    def measure(rows: Rows) -> float:
        model = domain.build_model(rows.features, params.train.hyperparameters, params.train.seed)
        predictor = Predictor(convert_model(fit_model(model, rows), rows.features))
        return metric.measure(predict_rows(predictor, test))

    rows = read_rows(TRAIN)
    total, whole = len(rows.y), measure(rows)
    for share in SHARES:
        count = round(total * share)
        error = measure(read_rows(TRAIN, Sample(count, params.train.seed)))
        note = f"{error:.4g} against {whole:.4g}; train.max_rows of {count:,}, of {total:,} rows"
        yield Line(f"{metric.name} of {share:.0%} of the training rows, of that of all", error / whole, note=note)
