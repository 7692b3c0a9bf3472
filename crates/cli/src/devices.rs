//! `dropforge devices`

use crate::args::Devices;
use crate::output::{Outcome, line};
use serde_json::json;

pub fn run(args: &Devices) -> Outcome {
    for device in dropforge::devices::list()? {
        if args.json {
            line(json!({ "device": device.name, "description": device.description }))?;
        } else {
            line(format_args!("{:10} {}", device.name, device.description))?;
        }
    }
    Ok(())
}
