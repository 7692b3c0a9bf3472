//! How layers with settings are declared.

/// Declares layers: what must be given with its type in files, then the settings with their defaults. Each gets its
/// type, the function that makes it, a method for each setting, and its place in files. What it computes stands in a
/// method `trace(&self, &Scope, &Tensor) -> Tensor` of the type.
macro_rules! layers {
    ($(
        $(#[$doc:meta])*
        $type:ident, $make:ident($($given:ident: $from:ty),*) = $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?
        [$($needed:ident as $key:literal: $needs:ty = $made:expr, $limits:expr, $about:literal;)*]
        {$($field:ident: $kind:ty = $default:expr, $range:expr, $line:literal;)*}
    )*) => {$(
        #[doc = concat!("The layer made by [`", stringify!($make), "()`].")]
        #[derive(Clone)]
        pub struct $type {
            $($needed: $needs,)*
            $($field: $kind,)*
            site: &'static std::panic::Location<'static>,
        }

        $(#[$doc])*
        #[track_caller]
        pub fn $make($($given: $from),*) -> $type {
            $type {
                $($needed: $made,)*
                $($field: $default,)*
                site: std::panic::Location::caller(),
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

        impl $crate::nn::Layer for $type {
            fn forward(&self, scope: &$crate::nn::Scope, x: &$crate::Tensor) -> $crate::Tensor {
                scope.run(self, self.site, x, |scope, x| self.trace(scope, x))
            }

            fn describe(&self) -> String {
                $name.into()
            }

            fn config(&self) -> $crate::Result<$crate::settings::Value> {
                $crate::settings::Described::write_named(self).map($crate::settings::Value::Table)
            }
        }

        $crate::described! {
            $type = $name, $help $(like $twin $(but $differs)?)?, { site: std::panic::Location::caller() };
            $($needed as $key: $needs, None, $limits, $about;)*
            $($field: $kind, Some($default), $range, $line;)*
        }
    )*};
}
pub(super) use layers;
