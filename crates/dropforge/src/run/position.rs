//! The host's part of a checkpoint as text.

use super::checksums::{self, Sums};
use super::config::toml_message;
use crate::train::state::{FORMAT, State};
use crate::{Error, ErrorKind, Result};

/// As TOML, with the checksums of the other texts of its checkpoint.
pub(super) fn to_text(state: &State, sums: &Sums) -> Result<String> {
    let state = State { spent: state.spent(), ..state.clone() };
    let text = toml::to_string(&state).map_err(|error| Error::file(format!("state: {error}")))?;
    let text = format!("{}{text}", sums.lines());
    Ok(format!("{SUM}{:08x}\n{text}", sum(&text)))
}

/// What the first line begins with: half a text may read well, and would be another state.
const SUM: &str = "# The state of a training. Its CRC-32: ";

fn sum(text: &str) -> u32 {
    checksums::sum(text.as_bytes())
}

/// From TOML.
pub(crate) fn parse(text: &str) -> Result<State> {
    #[derive(serde::Deserialize)]
    struct Layout {
        format: u32,
    }
    if let Some((said, rest)) = text.strip_prefix(SUM).map(|text| text.split_once('\n').unwrap_or((text, "")))
        && said.trim() != format!("{:08x}", sum(rest))
    {
        return Err(checksums::differs());
    }
    let failed = |error: &toml::de::Error| Error::of(ErrorKind::File, toml_message(text, error));
    let Layout { format } = toml::from_str(text).map_err(|error| failed(&error))?;
    if format != FORMAT {
        let message = format!(
            "is in format {format}, this version goes on from format {FORMAT} only: the sums of the metrics lie with the \
             optimizer's state now; the weights of the run can be used as they are"
        );
        return Err(Error::of(ErrorKind::File, message));
    }
    toml::from_str(text).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Figures;
    use crate::train::EpochReport;

    #[test]
    fn numbers_read_back_exactly() {
        let mut state = State::new(u64::MAX, 32);
        state.seconds = 0.1 + 0.2;
        state.callbacks.insert("early stopping".into(), "best = 0.5\n\"quoted\"".into());
        state.change("back.bone", "lr", 1e-9.into());
        state.history.push(EpochReport {
            epoch: 1,
            step: 9,
            lr: 1e-300,
            loss: f64::MIN_POSITIVE,
            samples_per_s: 12345.678,
            seconds: 0.1,
            metrics: Figures::share("accuracy", 0.1).and(Figures::number("own", f64::INFINITY)),
            validation: None,
        });
        assert_eq!(parse(&to_text(&state, &Sums::default()).unwrap()).unwrap(), state);
        let other = State::new(7, 32);
        let message = other.check_continues(&state).unwrap_err().to_string();
        assert!(message.contains("seed 18446744073709551615") && message.contains('7'), "{message}");
        assert!(!parse("format = 2\nsteps = 3").unwrap_err().to_string().contains('\n'));
        let old = parse("format = 1\nsteps = 3").unwrap_err().to_string();
        assert!(old.contains("format 1") && old.contains("weights"), "{old}");
    }
}
