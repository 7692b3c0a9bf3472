//! Reductions: what a lane keeps, how an element joins, how lanes merge, and what comes out.

use super::scalar::name;
use super::shader::wgsl_type;
use dropforge_ir::DType;
use dropforge_plan::kernel::{Reduce, Reduction};

/// One reduction of a stage.
pub struct Accumulator<'a> {
    pub reduce: &'a Reduce,
    dtype: DType,
    prefix: String,
}

impl<'a> Accumulator<'a> {
    /// `dtype` is the type of the reduced register, `prefix` makes names unique.
    pub fn new(reduce: &'a Reduce, dtype: DType, prefix: String) -> Accumulator<'a> {
        Accumulator { reduce, dtype, prefix }
    }

    /// Type and first value of each part.
    pub fn parts(&self) -> Vec<(&'static str, String)> {
        let ty = wgsl_type(self.dtype);
        let is_float = self.dtype == DType::F32;
        let one = |float: &str, integer: &str| {
            vec![(ty, if is_float { float.to_string() } else { integer.to_string() })]
        };
        match self.reduce.kind {
            Reduction::Sum => one("0.0", "0"),
            Reduction::Product => one("1.0", "1"),
            Reduction::Max => one("f_bits(0xff800000u)", "(-2147483647 - 1)"),
            Reduction::Min => one("f_bits(0x7f800000u)", "2147483647"),
            Reduction::ArgMax => vec![(ty, format!("{ty}(0)")), ("i32", "-1".into())],
            Reduction::LogSumExp => vec![("vec2<f32>", "vec2<f32>(f_bits(0xff800000u), 0.0)".into())],
            Reduction::MeanVariance => vec![("vec3<f32>", "vec3<f32>(0.0, 0.0, 0.0)".into())],
        }
    }

    /// The name of a part.
    pub fn part(&self, index: usize) -> String {
        format!("{}_{index}", self.prefix)
    }

    /// The statement by which the element `x` of a column joins.
    pub fn add(&self, column: &str, x: &str) -> String {
        let a = self.part(0);
        match self.reduce.kind {
            Reduction::LogSumExp => format!("{a} = r_lse({a}, {x});"),
            Reduction::MeanVariance => format!("{a} = r_moments({a}, {x});"),
            Reduction::ArgMax => self.arg_max(x, &format!("i32({column})")),
            _ => self.merge(&[x.to_string()]),
        }
    }

    /// The statement by which the elements `x` of a column and the three after it join.
    pub fn add_four(&self, column: &str, x: &[String; 4]) -> String {
        let a = self.part(0);
        match self.reduce.kind {
            Reduction::LogSumExp => format!("{a} = r_lse_four({a}, vec4<f32>({}));", x.join(", ")),
            Reduction::MeanVariance => format!("{a} = r_moments_four({a}, vec4<f32>({}));", x.join(", ")),
            _ => {
                let numbered = x.iter().enumerate();
                numbered.map(|(number, x)| self.add(&format!("{column} + {number}u"), x) + " ").collect()
            }
        }
    }

    /// The statement by which the parts of another lane join.
    pub fn merge(&self, other: &[String]) -> String {
        let (a, b) = (self.part(0), &other[0]);
        let is_float = self.dtype == DType::F32;
        match self.reduce.kind {
            Reduction::Sum => format!("{a} = {a} + {b};"),
            Reduction::Product => format!("{a} = {a} * {b};"),
            Reduction::Max if is_float => format!("{a} = f_max({a}, {b});"),
            Reduction::Min if is_float => format!("{a} = f_min({a}, {b});"),
            Reduction::Max => format!("{a} = max({a}, {b});"),
            Reduction::Min => format!("{a} = min({a}, {b});"),
            Reduction::ArgMax => self.arg_max(b, &other[1]),
            Reduction::LogSumExp => format!("{a} = r_lse_merge({a}, {b});"),
            Reduction::MeanVariance => format!("{a} = r_moments_merge({a}, {b});"),
        }
    }

    fn arg_max(&self, x: &str, i: &str) -> String {
        let (y, j, ty) = (self.part(0), self.part(1), wgsl_type(self.dtype));
        format!("if (r_beats_{ty}({x}, {i}, {y}, {j})) {{ {y} = {x}; {j} = {i}; }}")
    }

    /// The statements that give the results to the row registers.
    pub fn end(&self) -> String {
        let a = self.part(0);
        let to: Vec<String> = self.reduce.to.iter().map(|&register| name(register)).collect();
        match self.reduce.kind {
            Reduction::ArgMax => format!("{} = {};", to[0], self.part(1)),
            Reduction::LogSumExp => format!("{} = r_lse_end({a});", to[0]),
            Reduction::MeanVariance => format!(
                "{} = select({a}.y, f_bits(0x7fc00000u), {a}.x == 0.0); {} = {a}.z / {a}.x;",
                to[0], to[1]
            ),
            _ => format!("{} = {a};", to[0]),
        }
    }
}
