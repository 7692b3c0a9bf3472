//! Whether the samples that a configuration trains on stay on the device.

use super::{AugmentOn, OpenData, RunConfig};
use crate::settings::{Context, SettingType, Value};
use crate::{Error, Result, Runtime};
use dropforge_data::{Source, whole_bytes};

/// Samples that take more than this, as they are read, are not put on a device unless that is asked for.
const MOST_BYTES: usize = 1 << 30;
/// They take at most this part of the room that a limit leaves.
const PART_OF_ROOM: u64 = 2;

/// Whether all samples to train on stay on the device, where the step picks its batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDevice {
    /// They do.
    Yes,
    /// They are read, and copied batch by batch.
    No,
    /// On a GPU, where they are in memory anyway and fit.
    #[default]
    Auto,
}

/// The word for [`OnDevice::Auto`].
const AUTO: &str = "auto";

impl SettingType for OnDevice {
    fn expects() -> String {
        format!("true, false or `{AUTO}`")
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<OnDevice> {
        match value {
            Value::Boolean(true) => Ok(OnDevice::Yes),
            Value::Boolean(false) => Ok(OnDevice::No),
            Value::String(word) if word == AUTO => Ok(OnDevice::Auto),
            other => Err(Error::setting(format!("should be {}, got {other}", OnDevice::expects()))),
        }
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(match self {
            OnDevice::Yes => Value::Boolean(true),
            OnDevice::No => Value::Boolean(false),
            OnDevice::Auto => Value::String(AUTO.into()),
        }))
    }

    fn from_word(word: &str) -> Value {
        bool::from_word(word)
    }
}

impl RunConfig {
    /// Whether the samples stay on a device; to be asked once it is known where random changes are made.
    ///
    /// # Errors
    /// They are asked to, but the host changes them at random.
    pub fn kept_on(&self, data: &OpenData, runtime: &Runtime) -> Result<OnDevice> {
        let changed = self.host_changes()?;
        match (self.data_on_device, changed.first()) {
            (OnDevice::Yes, Some(name)) => Err(Error::setting(format!(
                "`data_on_device`: {name} is made on the host while samples are read, so they cannot stay on the device; leave it \
                 out, have it made there (--augment-on device) where that can be, or leave out --data-on-device"
            ))),
            (OnDevice::Auto, changed) => {
                let fits = changed.is_none() && data.threads == 1 && fit(&*data.train, runtime);
                Ok(if fits && runtime.device().is_gpu() { OnDevice::Yes } else { OnDevice::No })
            }
            (known, _) => Ok(known),
        }
    }

    /// Names of the changes that are made while samples are read.
    fn host_changes(&self) -> Result<Vec<String>> {
        let host = self.augment_on != AugmentOn::Device;
        let changes = self.changes()?.into_iter();
        let changes = changes.filter(|(_, change)| match change {
            super::Change::Host(_) => true,
            super::Change::Both(_) => host,
            super::Change::Mix(_) => false,
        });
        Ok(changes.map(|(name, _)| name).collect())
    }
}

/// Whether there is room for samples on a device without a question.
fn fit(samples: &dyn Source, runtime: &Runtime) -> bool {
    let memory = runtime.memory();
    let limit = memory.as_ref().and_then(|memory| Some((memory.limit?, memory.held())));
    let room = limit.map_or(u64::MAX, |(limit, held)| limit.saturating_sub(held) / PART_OF_ROOM);
    let fits = |bytes: usize| bytes <= MOST_BYTES && bytes as u64 <= room;
    !samples.is_random() && whole_bytes(samples).is_some_and(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let read = |text: &str| RunConfig::parse(text);
        for (text, expected) in [
            ("", OnDevice::Auto),
            ("data_on_device = true", OnDevice::Yes),
            ("data_on_device = false", OnDevice::No),
            ("data_on_device = 'auto'", OnDevice::Auto),
        ] {
            let config = read(text).unwrap();
            assert_eq!(config.data_on_device, expected);
            assert_eq!(RunConfig::parse(&config.to_text().unwrap()).unwrap().data_on_device, expected);
        }
        let message = read("data_on_device = 'gpu'").unwrap_err().to_string();
        assert!(message.contains("should be true, false or `auto`"), "{message}");
    }

    #[test]
    fn a_cpu_keeps_what_it_is_asked_to() {
        let digits = crate::run::DataSpec::parse("digits:30").unwrap();
        let data = digits.open(&crate::run::Opening::of(64)).unwrap();
        let runtime = Runtime::shared().unwrap();
        let kept = |text: &str| RunConfig::parse(text).unwrap().kept_on(&data, &runtime);
        assert_eq!(kept("").unwrap(), OnDevice::No);
        assert_eq!(kept("data_on_device = true").unwrap(), OnDevice::Yes);
        let flip = "data_on_device = true\n[[transforms]]\ntype = 'flip'\n";
        let message = kept(flip).unwrap_err().to_string();
        assert!(message.contains("flip is made on the host"), "{message}");
        assert_eq!(kept(&format!("augment_on = 'device'\n{flip}")).unwrap(), OnDevice::Yes);
    }
}
