"""A table as Parquet, written by pyarrow in several ways, and as CSV: both must be read as the same.

`pip install pyarrow`, then `python3 scripts/golden_parquet.py` writes crates/data/tests/data/parquet.
"""

import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent.parent / "crates/data/tests/data/parquet"
ROWS = 40


def table():
    rows = range(ROWS)
    some = lambda values: [None if i % 7 == 3 else value for i, value in enumerate(values)]
    return pa.table(
        {
            "size": pa.array(some([i * 0.1 - 1.5 for i in rows]), pa.float64()),
            "width": pa.array([i / 3 for i in rows], pa.float32()),
            "count": pa.array(some([i * i - 5 for i in rows]), pa.int32()),
            "large": pa.array([10**12 + i for i in rows], pa.int64()),
            "small": pa.array([i % 5 for i in rows], pa.uint8()),
            "colour": pa.array(some([["red", "blue, or so", "grün"][i % 3] for i in rows]), pa.string()),
            "kind": pa.array([["a", "b"][i % 2] for i in rows]).dictionary_encode(),
            "flag": pa.array(some([i % 3 == 0 for i in rows]), pa.bool_()),
            "day": pa.array([datetime.date(2024, 1 + i % 3, 1) for i in rows], pa.date32()),
            "cost": pa.array([Decimal(i) / 4 for i in rows], pa.decimal128(9, 2)),
            "price": pa.array([i * 1.25 for i in rows], pa.float64()),
        }
    )


def text(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    value = str(value)
    return f'"{value}"' if "," in value else value


def write_csv(data):
    lines = [",".join(data.column_names)]
    # Numbers of 32 bits in as few digits as tell them from others.
    short = lambda name, value: float(f"{value:.9g}") if name == "width" else value
    lines += [",".join(text(short(name, value)) for name, value in row.items()) for row in data.to_pylist()]
    (FOLDER / "table.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    data = table()
    write_csv(data)
    pq.write_table(data, FOLDER / "snappy.parquet", compression="snappy", row_group_size=17)
    pq.write_table(data, FOLDER / "plain.parquet", compression="none", use_dictionary=False, data_page_version="2.0")
    pq.write_table(data, FOLDER / "gzip.parquet", compression="gzip", data_page_size=64)
    pq.write_table(data, FOLDER / "zstd.parquet", compression="zstd")
    nested = pa.table({"list": pa.array([[1, 2], [3]]), "price": pa.array([1.0, 2.0])})
    pq.write_table(nested, FOLDER / "nested.parquet")
    pq.write_table(data.slice(0, 0), FOLDER / "empty.parquet")
    # The repository holds text alone.
    for path in FOLDER.glob("*.parquet"):
        digits = path.read_bytes().hex()
        lines = [digits[start : start + 120] for start in range(0, len(digits), 120)]
        path.with_name(f"{path.name}.hex").write_text("\n".join(lines) + "\n")
        path.unlink()
