//! The wire format of protocol buffers: fields with a number and one of four forms, as far as ONNX files use it.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use crate::{Error, Result, failed};

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Field<'a> {
    /// An integer, also of a bool or an enumeration.
    Varint(u64),
    /// Eight bytes.
    Fixed64([u8; 8]),
    /// Four bytes.
    Fixed32([u8; 4]),
    /// Text, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub fn integer(self) -> Result<i64> {
        match self {
            Field::Varint(number) => Ok(number as i64),
            _ => Err(damaged("expected an integer")),
        }
    }

    pub fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            _ => Err(damaged("expected text or a message")),
        }
    }

    pub fn text(self) -> Result<String> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| damaged("a text is no UTF-8"))?;
        Ok(text.to_string())
    }

    pub fn float(self) -> Result<f32> {
        match self {
            Field::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(damaged("expected a float")),
        }
    }

    /// Appends the integers of a repeated field, packed or single.
    pub fn integers(self, all: &mut Vec<i64>) -> Result<()> {
        match self {
            Field::Bytes(bytes) => {
                let mut reader = Reader { rest: bytes };
                while !reader.rest.is_empty() {
                    all.push(reader.varint()? as i64);
                }
                Ok(())
            }
            single => {
                all.push(single.integer()?);
                Ok(())
            }
        }
    }

    /// Appends the floats of a repeated field, packed or single.
    pub fn floats(self, all: &mut Vec<f32>) -> Result<()> {
        match self {
            Field::Bytes(bytes) => {
                let chunks = bytes.chunks_exact(4);
                if !chunks.remainder().is_empty() {
                    return Err(damaged("packed floats end in the middle of one"));
                }
                all.extend(chunks.map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])));
                Ok(())
            }
            single => {
                all.push(single.float()?);
                Ok(())
            }
        }
    }

    /// Appends the doubles of a repeated field, packed or single.
    pub fn doubles(self, all: &mut Vec<f64>) -> Result<()> {
        match self {
            Field::Bytes(bytes) => {
                let chunks = bytes.chunks_exact(8);
                if !chunks.remainder().is_empty() {
                    return Err(damaged("packed doubles end in the middle of one"));
                }
                let eight = |c: &[u8]| [c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]];
                all.extend(chunks.map(|c| f64::from_le_bytes(eight(c))));
                Ok(())
            }
            Field::Fixed64(bytes) => {
                all.push(f64::from_le_bytes(bytes));
                Ok(())
            }
            _ => Err(damaged("expected a double")),
        }
    }
}

fn damaged(what: &str) -> Error {
    failed(format!("no ONNX file, or damaged: {what}"))
}

/// Reads the fields of one message, which lie in memory: nothing is copied and no length is believed.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(message: &'a [u8]) -> Reader<'a> {
        Reader { rest: message }
    }

    /// The next field with its number; `None` at the end.
    pub fn next(&mut self) -> Result<Option<(u64, Field<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.fixed()?),
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(self.fixed()?),
            _ => return Err(damaged("a field has a form that does not exist")),
        };
        match key >> 3 {
            0 => Err(damaged("a field has the number 0")),
            number => Ok(Some((number, field))),
        }
    }

    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) =
                self.rest.split_first().ok_or_else(|| damaged("it ends inside of a number"))?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(damaged("a number has more than 64 bits"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let length = usize::try_from(length).ok().filter(|&length| length <= self.rest.len());
        let length = length.ok_or_else(|| damaged("a field is longer than what holds it"))?;
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N as u64)?;
        bytes.try_into().map_err(|_| damaged("it ends inside of a number"))
    }
}

/// Writes the fields of one message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    pub fn integer(&mut self, field: u64, number: i64) {
        self.varint(field << 3);
        self.varint(number as u64);
    }

    pub fn float(&mut self, field: u64, number: f32) {
        self.varint(field << 3 | 5);
        self.bytes.extend(number.to_le_bytes());
    }

    pub fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend(bytes);
    }

    pub fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// A message within this one.
    pub fn message(&mut self, field: u64, fill: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        fill(&mut inner);
        self.bytes(field, &inner.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Writer::default();
        for (field, number) in [(1, 0), (2, 127), (3, 128), (1000, i64::MAX), (4, -1)] {
            out.integer(field, number);
        }
        out.float(5, 1.5);
        out.message(6, |inner| inner.text(1, "é"));
        let bytes = out.into_bytes();
        let mut reader = Reader::new(&bytes);
        for expected in [(1, 0), (2, 127), (3, 128), (1000, i64::MAX), (4, -1)] {
            let (field, value) = reader.next().unwrap().unwrap();
            assert_eq!((field, value.integer().unwrap()), expected);
        }
        assert_eq!(reader.next().unwrap().unwrap().1.float().unwrap(), 1.5);
        let inner = reader.next().unwrap().unwrap().1.bytes().unwrap();
        assert_eq!(Reader::new(inner).next().unwrap().unwrap().1.text().unwrap(), "é");
        assert!(reader.next().unwrap().is_none());
        for end in 1..bytes.len() {
            let mut reader = Reader::new(&bytes[..end]);
            while let Ok(Some(_)) = reader.next() {}
        }
    }

    #[test]
    fn lengths_are_not_believed() {
        for bytes in [&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x0a], &[0x03], &[0x00, 0x00], &[0x80; 20]]
        {
            assert!(Reader::new(bytes).next().is_err(), "{bytes:?}");
        }
    }
}
