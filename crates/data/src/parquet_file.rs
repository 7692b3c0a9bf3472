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
    match quietly(|| rows(bytes, missing, MOST_BYTES)) {
        Ok(lines) => lines,
        Err(panicked) => Err(format!("is damaged: {panicked}")),
    }
}

fn rows(bytes: Vec<u8>, missing: &[String], most: i64) -> Result<Lines, String> {
    let room = most.min((bytes.len() as i64).saturating_mul(MOST_GROWTH));
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
    let (mut taken, mut values): (i64, i64) = (0, 0);
    for group in about.row_groups() {
        // As many as there are rows, whatever the columns say of themselves.
        values = values.saturating_add(group.num_rows().max(0).saturating_mul(columns.len() as i64));
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
    // Rows of nothing take no room in the file, and are rows of a table.
    if values.saturating_mul(Lines::BYTES_OF_VALUE as i64) > most {
        return Err(too_large(most));
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
        // Texts that are repeated are in the file once.
        let more: usize = cells.iter().map(|cell| cell.len() + Lines::BYTES_OF_VALUE).sum();
        if lines.bytes().saturating_add(more) as u64 > most as u64 {
            return Err(too_large(most));
        }
        lines.push_row(cells.iter().map(String::as_str), &missing)?;
    }
    if lines.count() == 0 { Err("has no rows".into()) } else { Ok(lines) }
}

fn too_large(most: i64) -> String {
    format!(
        "has values that take more than {most} bytes as a table; write it as several, or with fewer columns"
    )
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
    use std::sync::Arc;

    use parquet::data_type::{ByteArrayType, Int32Type};
    use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};

    use crate::testing::{Folder, message, parquet};
    use crate::{Dataset, Series, Table, TableOptions, read_one};

    fn csv() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parquet/table.csv")
    }

    fn file(folder: &Folder, name: &str) -> PathBuf {
        folder.write(name, &parquet(name))
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
        let folder = Folder::new("parquet-and-csv");
        for options in [TableOptions::default(), TableOptions::target("cost")] {
            let known = Table::open(csv(), &options).unwrap();
            let expected = inputs(&known.dataset().unwrap());
            for name in ["snappy.parquet", "plain.parquet", "gzip.parquet"] {
                let table = Table::open(file(&folder, name), &options).unwrap();
                assert_eq!(table.taken_as(), known.taken_as(), "{name}");
                let data = table.dataset().unwrap();
                let found = inputs(&data);
                assert_eq!(found.len(), expected.len());
                let far = found.iter().zip(&expected).find(|(a, b)| (*a - *b).abs() > 1e-5);
                assert!(far.is_none(), "{name}: {far:?}");
                // A run reads either by its columns.
                let again = Table::open_as(csv(), &options, crate::Source::description(&data)).unwrap();
                assert_eq!(again.count(), 40);
            }
        }
        let options = TableOptions { missing: vec!["red".into()], ..TableOptions::target("kind") };
        let table = Table::open(file(&folder, "snappy.parquet"), &options).unwrap();
        assert!(table.taken_as().contains("the target `kind` is one of 2 classes"), "{}", table.taken_as());
        assert!(table.taken_as().contains("colour (2 texts"), "{}", table.taken_as());
    }

    #[test]
    fn rows_and_texts_are_bounded_before_they_take_memory() {
        let bytes = parquet("snappy.parquet");
        let read = |most: i64| super::rows(bytes.clone(), &[], most);
        let all = read(super::MOST_BYTES).unwrap().bytes() as i64;
        let refused = |most: i64| read(most).err().unwrap_or_default();
        assert!(refused(1).contains("more than the 1 "), "{}", refused(1));
        // What is as large as is said is read, unless its values are larger than its pages.
        assert!(read(all * 100).is_ok());
        // Nulls by run length, and a text that is in the file once.
        let nulls = written("message t { optional int32 a; }", |column| {
            column.typed::<Int32Type>().write_batch(&[], Some(&vec![0; 300_000]), None).unwrap();
        });
        let text = parquet::data_type::ByteArray::from("long ".repeat(200).as_str());
        let texts = written("message t { required binary a (UTF8); }", |column| {
            column.typed::<ByteArrayType>().write_batch(&vec![text.clone(); 3000], None, None).unwrap();
        });
        for bytes in [nulls, texts] {
            assert!(bytes.len() < 10_000, "{}", bytes.len());
            let refused = super::rows(bytes.clone(), &[], 1 << 20).err().unwrap();
            assert!(refused.contains("take more than 1048576 bytes as a table"), "{refused}");
            assert!(super::rows(bytes, &[], 1 << 23).is_ok());
        }
    }

    /// A file of one column.
    fn written(schema: &str, write: impl Fn(&mut SerializedColumnWriter<'_>)) -> Vec<u8> {
        let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
        let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
        let mut group = file.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        write(&mut column);
        column.close().unwrap();
        group.close().unwrap();
        file.into_inner().unwrap()
    }

    #[test]
    fn what_is_no_table_is_named() {
        let folder = Folder::new("parquet");
        let refused = |name: &str| message(Table::open(file(&folder, name), &TableOptions::default()));
        assert!(
            refused("zstd.parquet").contains("write it with compression=snappy"),
            "{}",
            refused("zstd.parquet")
        );
        assert!(refused("nested.parquet").contains("column `list` holds lists or records"));
        assert!(refused("empty.parquet").contains("has no rows"));
        let target = message(Table::open(file(&folder, "plain.parquet"), &TableOptions::target("size")));
        assert!(target.contains("row 4 has no value of the target `size`"), "{target}");
        let series = message(Series::open(file(&folder, "plain.parquet"), &[]));
        assert!(series.contains("row 4: column `size`"), "{series}");
        let whole = parquet("snappy.parquet");
        for end in [4, 12, 200, whole.len() - 1] {
            let cut = folder.write("cut.parquet", &whole[..end]);
            assert!(message(Table::open(&cut, &TableOptions::default())).contains("is damaged"));
        }
    }
}
