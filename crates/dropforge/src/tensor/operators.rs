//! The operators `+ - * / −x` between tensors and numbers, by value and by reference.

use super::Tensor;
use super::arithmetic::{binary, meet};
use dropforge_ir::{BinaryKind, Op, UnaryKind};
use std::ops::{Add, Div, Mul, Neg, Sub};

macro_rules! operators {
    ($($trait:ident $method:ident $name:literal $kind:ident),* $(,)?) => {$(
        operators!(@pair $trait $method $name $kind; Tensor, Tensor);
        operators!(@pair $trait $method $name $kind; Tensor, &Tensor);
        operators!(@pair $trait $method $name $kind; &Tensor, Tensor);
        operators!(@pair $trait $method $name $kind; &Tensor, &Tensor);
        operators!(@number $trait $method $name $kind; f32);
        operators!(@number $trait $method $name $kind; i32);
    )*};
    (@pair $trait:ident $method:ident $name:literal $kind:ident; $left:ty, $right:ty) => {
        impl $trait<$right> for $left {
            type Output = Tensor;

            #[track_caller]
            fn $method(self, other: $right) -> Tensor {
                let (a, b): (&Tensor, &Tensor) = (&self, &other);
                binary($name, BinaryKind::$kind, a, b)
            }
        }
    };
    (@number $trait:ident $method:ident $name:literal $kind:ident; $number:ty) => {
        operators!(@right $trait $method $name $kind; $number, Tensor);
        operators!(@right $trait $method $name $kind; $number, &Tensor);
    };
    (@right $trait:ident $method:ident $name:literal $kind:ident; $number:ty, $tensor:ty) => {
        impl $trait<$number> for $tensor {
            type Output = Tensor;

            #[track_caller]
            fn $method(self, other: $number) -> Tensor {
                let (tensor, number) = meet(&self, &other, $name);
                binary($name, BinaryKind::$kind, &tensor, &number)
            }
        }

        impl $trait<$tensor> for $number {
            type Output = Tensor;

            #[track_caller]
            fn $method(self, other: $tensor) -> Tensor {
                let (tensor, number) = meet(&other, &self, $name);
                binary($name, BinaryKind::$kind, &number, &tensor)
            }
        }
    };
}

operators! {
    Add add "add" Add,
    Sub sub "sub" Subtract,
    Mul mul "mul" Multiply,
    Div div "div" Divide,
}

impl Neg for Tensor {
    type Output = Tensor;

    #[track_caller]
    fn neg(self) -> Tensor {
        -&self
    }
}

impl Neg for &Tensor {
    type Output = Tensor;

    #[track_caller]
    fn neg(self) -> Tensor {
        super::node::apply("neg", Op::Unary { kind: UnaryKind::Negate }, &[self])
    }
}
