//! How tensors look when they are printed: as NumPy's arrays, with their type and shape behind.

use super::Tensor;
use dropforge_ir::{Array, Data};
use std::fmt;

/// Elements from which on the middle of long axes is left out.
const MANY: usize = 1000;
/// How many elements then stand at each end of an axis.
const EDGE: usize = 3;
/// Digits behind the point at most, unless asked for.
const DIGITS: usize = 4;
/// Columns after which a row goes on in the next line.
const COLUMNS: usize = 80;

/// The elements, computed for that, in nested brackets with their type and shape; the error if there is one.
///
/// Numbers stand in columns, with as few digits behind the point as tell them, and at most 4 (`{:.6}` asks for 6).
/// Numbers that are very large, very small or far apart are written with exponents. Of more than 1000 elements the
/// middle is left out.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_array() {
            Ok(array) => {
                let printer = Printer::new(&array, f.precision());
                let mut text = String::new();
                printer.write(&mut text, 0, 0);
                write!(f, "{text} {}", self.ty())
            }
            Err(error) => write!(f, "({error})"),
        }
    }
}

/// Type and shape only; nothing is computed.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error() {
            Some(error) => write!(f, "Tensor({error})"),
            None => write!(f, "Tensor({})", self.ty()),
        }
    }
}

/// How all elements of an array are written.
struct Printer<'a> {
    array: &'a Array,
    /// Whether the middle is left out.
    is_short: bool,
    form: Form,
    /// Of the longest element.
    width: usize,
}

#[derive(Clone, Copy)]
enum Form {
    Whole,
    /// With so many digits behind the point.
    Fixed(usize),
    Exponent(usize),
}

impl Printer<'_> {
    fn new(array: &Array, precision: Option<usize>) -> Printer<'_> {
        let is_short = array.shape().elements() > MANY;
        let mut printer = Printer { array, is_short, form: Form::Whole, width: 0 };
        let mut shown = Vec::new();
        printer.visit(0, 0, &mut |offset| shown.push(offset));
        if let Some(numbers) = array.to_f32() {
            printer.form = form(shown.iter().map(|&offset| numbers[offset]), precision);
        }
        printer.width = shown.iter().map(|&offset| printer.element(offset).len()).max().unwrap_or(0);
        printer
    }

    /// Which positions of an axis are shown; `None` stands for those left out.
    fn positions(&self, axis: usize) -> Vec<Option<usize>> {
        let extent = self.array.shape()[axis];
        if self.is_short && extent > 2 * EDGE {
            let front = (0..EDGE).map(Some);
            front.chain([None]).chain((extent - EDGE..extent).map(Some)).collect()
        } else {
            (0..extent).map(Some).collect()
        }
    }

    /// Calls `each` with the offset of every element that is shown.
    fn visit(&self, axis: usize, offset: usize, each: &mut dyn FnMut(usize)) {
        let shape = self.array.shape();
        if axis == shape.rank() {
            return each(offset);
        }
        for position in self.positions(axis).into_iter().flatten() {
            self.visit(axis + 1, offset + position * shape.strides()[axis], each);
        }
    }

    fn write(&self, text: &mut String, axis: usize, offset: usize) {
        let shape = self.array.shape();
        let rank = shape.rank();
        if axis == rank {
            text.push_str(&self.element(offset));
            return;
        }
        text.push('[');
        let line = format!("\n{}", " ".repeat(axis + 1));
        // A row ends with a new line, a matrix with a blank one, and so on.
        let separator = if axis + 1 == rank {
            ", ".to_string()
        } else {
            format!(",{}{line}", "\n".repeat(rank - axis - 2))
        };
        let mut column = axis + 1;
        for (number, position) in self.positions(axis).into_iter().enumerate() {
            if number > 0 {
                text.push_str(&separator);
            }
            let Some(position) = position else {
                text.push('…');
                column += 3;
                continue;
            };
            if axis + 1 == rank {
                column += self.width + 2;
                if column > COLUMNS && number > 0 {
                    text.truncate(text.trim_end().len());
                    text.push_str(&line);
                    column = axis + 3 + self.width;
                }
                let element = self.element(offset + position * shape.strides()[axis]);
                text.push_str(&" ".repeat(self.width.saturating_sub(element.len())));
                text.push_str(&element);
            } else {
                self.write(text, axis + 1, offset + position * shape.strides()[axis]);
            }
        }
        text.push(']');
    }

    fn element(&self, offset: usize) -> String {
        match self.array.data() {
            Data::F32(v) => self.float(v[offset]),
            Data::F16(v) => self.float(v[offset].to_f32()),
            Data::BF16(v) => self.float(v[offset].to_f32()),
            Data::I32(v) => v[offset].to_string(),
            Data::U32(v) => v[offset].to_string(),
            Data::U8(v) => v[offset].to_string(),
            Data::Bool(v) => (v[offset] != 0).to_string(),
        }
    }

    fn float(&self, x: f32) -> String {
        match self.form {
            _ if !x.is_finite() => format!("{x}").to_lowercase(),
            Form::Whole => format!("{x}"),
            Form::Fixed(digits) => format!("{x:.digits$}"),
            Form::Exponent(digits) => format!("{x:.digits$e}"),
        }
    }
}

/// The form in which numbers are told apart, if there is one.
fn form(numbers: impl Iterator<Item = f32>, precision: Option<usize>) -> Form {
    let finite: Vec<f32> = numbers.filter(|x| x.is_finite()).collect();
    let sizes = finite.iter().map(|x| x.abs()).filter(|&size| size > 0.0);
    let (least, greatest) =
        sizes.fold((f32::INFINITY, 0f32), |(least, greatest), size| (least.min(size), greatest.max(size)));
    let is_wide = greatest >= 1e8 || (greatest > 0.0 && (least < 1e-4 || greatest / least > 1e6));
    let behind = |digits: Option<usize>| digits.unwrap_or(0);
    if is_wide && precision.is_none() {
        // As many digits as the shortest text of each number has, the first one left out.
        let digits =
            |x: &f32| format!("{x:e}").find('e').map(|end| end.saturating_sub(if *x < 0.0 { 3 } else { 2 }));
        let needed = finite.iter().map(|x| behind(digits(x))).max().unwrap_or(0);
        return Form::Exponent(needed.min(DIGITS));
    }
    if let Some(digits) = precision {
        return Form::Fixed(digits);
    }
    let digits = |x: &f32| format!("{x}").split_once('.').map(|(_, fraction)| fraction.len());
    let needed = finite.iter().map(|x| behind(digits(x))).max().unwrap_or(0);
    Form::Fixed(needed.clamp(1, DIGITS))
}
