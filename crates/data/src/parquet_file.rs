//! Parquet files as the rows of a table.

use parquet::basic::Repetition;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use crate::column::shortened;
use crate::lines::Lines;
use crate::quiet::quietly;

/// Far above what is kept in memory as one table.
const MOST_BYTES: i64 = 1 << 30;
/// What a byte of a file may become: pages of one number that is repeated are packed thousands of times.
const MOST_GROWTH: i64 = 1 << 10;

/// The rows of a file, as texts: numbers as few digits as tell them from others, dates as ISO 8601 has them. Values
/// that are one of `missing` become empty, as those that are not there.
pub(crate) fn read(bytes: Vec<u8>, missing: &[String]) -> Result<Lines, String> {
    match quietly(|| rows(bytes, missing)) {
        Ok(lines) => lines,
        Err(panicked) => Err(format!("is damaged: {panicked}")),
    }
}

fn rows(bytes: Vec<u8>, missing: &[String]) -> Result<Lines, String> {
    let room = MOST_BYTES.min((bytes.len() as i64).saturating_mul(MOST_GROWTH));
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).map_err(|error| damaged(&error))?;
    let about = reader.metadata();
    let columns = about.file_metadata().schema_descr().columns();
    let schema = about.file_metadata().schema().get_fields();
    let nested = schema.iter().find(|field| {
        !field.is_primitive()
            || field.get_basic_info().has_repetition()
                && field.get_basic_info().repetition() == Repetition::REPEATED
    });
    if let Some(nested) = nested {
        return Err(format!(
            "column `{}` holds lists or records; a table has one value in each row and column: leave it out when you \
             write the file",
            shortened(nested.name())
        ));
    }
    let mut taken: i64 = 0;
    for group in about.row_groups() {
        for column in group.columns() {
            let sizes = [column.uncompressed_size(), column.compressed_size(), column.num_values()];
            if sizes.iter().any(|&size| size < 0) {
                return Err("is damaged: it says of a column that it has less than nothing".into());
            }
            taken = taken.saturating_add(sizes[0]);
        }
    }
    if taken > room {
        return Err(format!(
            "takes {taken} bytes in memory, more than the {room} that such a file may; write it as several"
        ));
    }
    let missing: Vec<&str> = missing.iter().map(|value| value.trim()).collect();
    let mut lines = Lines::of_rows(columns.iter().map(|column| column.name()))?;
    let mut cells: Vec<String> = vec![String::new(); columns.len()];
    for row in reader.get_row_iter(None).map_err(|error| damaged(&error))? {
        let row = row.map_err(|error| damaged(&error))?;
        let mut given = 0;
        for ((name, field), cell) in row.get_column_iter().zip(&mut cells) {
            cell.clear();
            write(field, cell).map_err(|what| format!("column `{}` holds {what}", shortened(name)))?;
            given += 1;
        }
        if given != columns.len() {
            return Err(format!("is damaged: a row has {given} values for {} columns", columns.len()));
        }
        lines.push_row(cells.iter().map(String::as_str), &missing)?;
    }
    if lines.count() == 0 { Err("has no rows".into()) } else { Ok(lines) }
}

fn damaged(error: &ParquetError) -> String {
    let said = error.to_string().replace('\n', " ");
    match said.contains("isabled feature") {
        true => {
            format!("is packed in a way that is not read here ({said}); write it with compression=snappy")
        }
        false => format!("is damaged: {said}"),
    }
}

/// Writes a value as a text.
fn write(field: &Field, text: &mut String) -> Result<(), &'static str> {
    use std::fmt::Write;
    let written = match field {
        Field::Null => Ok(()),
        Field::Bool(value) => write!(text, "{value}"),
        Field::Byte(value) => write!(text, "{value}"),
        Field::Short(value) => write!(text, "{value}"),
        Field::Int(value) => write!(text, "{value}"),
        Field::Long(value) => write!(text, "{value}"),
        Field::UByte(value) => write!(text, "{value}"),
        Field::UShort(value) => write!(text, "{value}"),
        Field::UInt(value) => write!(text, "{value}"),
        Field::ULong(value) => write!(text, "{value}"),
        Field::Float16(value) => write!(text, "{value}"),
        Field::Float(value) => write!(text, "{value}"),
        Field::Double(value) => write!(text, "{value}"),
        Field::Str(value) => write!(text, "{value}"),
        Field::Bytes(value) => match std::str::from_utf8(value.data()) {
            Ok(value) => write!(text, "{value}"),
            Err(_) => return Err("bytes that are no text"),
        },
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => return Err("lists or records"),
        // Decimals, dates and times.
        other => write!(text, "{other}"),
    };
    written.map_err(|_| "what cannot be written")
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use crate::testing::message;
    use crate::{Dataset, Series, Table, TableOptions, read_one};

    fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parquet").join(name)
    }

    fn inputs(data: &Dataset) -> Vec<f32> {
        let each = (0..data.count()).flat_map(|index| {
            let sample = read_one(data, index).unwrap();
            ["input", "target"].map(|field| sample.get(field).unwrap().slice::<f32>().unwrap().to_vec())
        });
        each.flatten().collect()
    }

    /// Written by pyarrow as Parquet in several ways, and as CSV (`scripts/golden_parquet.py`).
    #[test]
    fn a_table_is_the_same_as_parquet_and_as_csv() {
        for options in [TableOptions::default(), TableOptions::target("cost")] {
            let csv = Table::open(file("table.csv"), &options).unwrap();
            let expected = inputs(&csv.dataset().unwrap());
            for name in ["snappy.parquet", "plain.parquet", "gzip.parquet"] {
                let table = Table::open(file(name), &options).unwrap();
                assert_eq!(table.taken_as(), csv.taken_as(), "{name}");
                let data = table.dataset().unwrap();
                let found = inputs(&data);
                assert_eq!(found.len(), expected.len());
                let far = found.iter().zip(&expected).find(|(a, b)| (*a - *b).abs() > 1e-5);
                assert!(far.is_none(), "{name}: {far:?}");
                // A run reads either by its columns.
                let again =
                    Table::open_as(file("table.csv"), &options, crate::Source::description(&data)).unwrap();
                assert_eq!(again.count(), 40);
            }
        }
        let options = TableOptions { missing: vec!["red".into()], ..TableOptions::target("kind") };
        let table = Table::open(file("snappy.parquet"), &options).unwrap();
        assert!(table.taken_as().contains("the target `kind` is one of 2 classes"), "{}", table.taken_as());
        assert!(table.taken_as().contains("colour (2 texts"), "{}", table.taken_as());
    }

    #[test]
    fn what_is_no_table_is_named() {
        let refused = |name: &str| message(Table::open(file(name), &TableOptions::default()));
        assert!(
            refused("zstd.parquet").contains("write it with compression=snappy"),
            "{}",
            refused("zstd.parquet")
        );
        assert!(refused("nested.parquet").contains("column `list` holds lists or records"));
        assert!(refused("empty.parquet").contains("has no rows"));
        let target = message(Table::open(file("plain.parquet"), &TableOptions::target("size")));
        assert!(target.contains("row 4 has no value of the target `size`"), "{target}");
        let series = message(Series::open(file("plain.parquet"), &[]));
        assert!(series.contains("row 4: column `size`"), "{series}");
        let folder = crate::testing::Folder::new("parquet");
        let whole = std::fs::read(file("snappy.parquet")).unwrap();
        for end in [4, 12, 200, whole.len() - 1] {
            let cut = folder.write("cut.parquet", &whole[..end]);
            assert!(message(Table::open(&cut, &TableOptions::default())).contains("is damaged"));
        }
    }
}
