//! What a name can stand for in a file or on a command line: settings with types, defaults, ranges and one line of help
//! each, declared once beside the thing they belong to.
//!
//! Everything that reads, writes, checks, lists or documents settings works from these declarations: configuration
//! files, `--set`, `dropforge list`, the reference page, the comparison on resuming.
//!
//! ```
//! use dropforge::settings::{Context, Described, Range, Table};
//!
//! struct Decay { rate: f64, every: usize }
//!
//! dropforge::described! {
//!     Decay = "decay", "the rate shrinks by a factor every few epochs";
//!     rate: f64, Some(0.1), Range::above(0.0), "factor";
//!     every: usize, None, (1..).into(), "epochs between two steps";
//! }
//!
//! let table: Table = toml::from_str("every = 10")?;
//! let decay = Decay::read(&table, &Context::NONE)?;
//! assert_eq!((decay.rate, decay.every), (0.1, 10));
//! assert_eq!(decay.write()?["rate"].as_float(), Some(0.1));
//!
//! let table: Table = toml::from_str("evry = 10")?;
//! let error = Decay::read(&table, &Context::NONE).err().map(|error| error.to_string());
//! assert_eq!(error.as_deref(), Some("decay has no setting `evry`; did you mean `every`? It has `rate`, `every`"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod declare;
mod nearest;
mod path;
mod range;
mod types;

#[doc(hidden)]
pub use declare::setting as declare_setting;
pub use declare::{Declaration, Described, Fields, Setting, Twin};
pub use nearest::unknown;
pub use path::{differences, set_path};
pub use range::Range;
pub use toml::{Table, Value};
pub use types::{Context, Library, SettingType};

/// The key that names what a table describes, where there is a choice: `type = "adam"`.
pub const TYPE: &str = "type";
