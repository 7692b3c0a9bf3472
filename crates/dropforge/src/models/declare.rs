//! How models with settings are declared.

/// Declares models: their types with their settings and defaults, the shape of a usual sample and the usual training.
/// What they are made of stands in a method `network(&self, outputs: usize) -> Box<dyn Layer>` of the type.
macro_rules! models {
    ($(
        $(#[$doc:meta])*
        $type:ident = $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?, $input:expr, $recipe:expr
            $(, loss = $loss:literal)? $(, tokens = $tokens:literal)?;
        {$($field:ident: $kind:ty = $default:expr, $range:expr, $line:literal;)*}
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $type {
            $($field: $kind,)*
        }

        impl Default for $type {
            fn default() -> $type {
                $type { $($field: $default,)* }
            }
        }

        impl $type {
            $(
                #[doc = concat!("Sets: ", $line, ". Default `", stringify!($default), "`.")]
                #[must_use]
                pub fn $field(mut self, $field: $kind) -> $type {
                    self.$field = $field;
                    self
                }
            )*
        }

        $crate::described! {
            $type = $name, $help $(like $twin $(but $differs)?)?;
            $($field: $kind, Some($default), $range, $line;)*
        }

        impl $crate::models::Model for $type {
            fn layers(&self, outputs: usize) -> Box<dyn $crate::nn::Layer> {
                self.network(outputs)
            }

            fn usual_input(&self) -> Vec<usize> {
                $input.to_vec()
            }

            fn recipe(&self) -> $crate::models::Recipe {
                $recipe
            }

            $(
                fn usual_loss(&self) -> Option<&'static str> {
                    Some($loss)
                }
            )?

            $(
                fn takes_tokens(&self) -> bool {
                    $tokens
                }
            )?

            fn config(&self) -> $crate::Result<$crate::settings::Table> {
                $crate::settings::Described::write_named(self)
            }
        }
    )*};
}
pub(super) use models;
