//! Samples that stay on the device where nobody asked for it.

use crate::output::{Outcome, Stop};
use dropforge::run::OnDevice;

/// Makes something with the samples on the device, or not, as it was decided. Where nobody asked for it and the device
/// then has no room, it is made without, and there is something to be said.
pub fn fall_back<T>(
    asked: OnDevice,
    kept: OnDevice,
    mut make: impl FnMut(bool) -> Outcome<T>,
) -> Outcome<(T, Option<String>)> {
    let on_device = kept == OnDevice::Yes;
    match make(on_device) {
        // What fails for another reason fails again, and says it.
        Err(Stop::Error(why)) if on_device && asked == OnDevice::Auto => {
            let without = make(false)?;
            Ok((
                without,
                Some(format!(
                    "the samples are read and copied batch by batch, since they could not be kept on the device: {why}"
                )),
            ))
        }
        made => Ok((made?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asked_is_refused_where_there_is_no_room() {
        let full = |on_device| -> Outcome<&'static str> {
            if on_device { Err("no room".into()) } else { Ok("made") }
        };
        let (made, said) = fall_back(OnDevice::Auto, OnDevice::Yes, full).ok().unwrap();
        assert!(made == "made" && said.is_some_and(|said| said.contains("no room")));
        assert!(fall_back(OnDevice::Yes, OnDevice::Yes, full).is_err());
        assert!(fall_back(OnDevice::Auto, OnDevice::No, full).ok().unwrap().1.is_none());
        let broken = |_| -> Outcome<()> { Err("a wrong model".into()) };
        assert!(fall_back(OnDevice::Auto, OnDevice::Yes, broken).is_err());
    }
}
