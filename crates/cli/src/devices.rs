//! `dropforge devices`

use crate::args::Devices;
use crate::output::{Outcome, count, line};
use serde_json::{Map, Value, json};

pub fn run(args: &Devices) -> Outcome {
    for device in dropforge::devices::list()? {
        if args.json {
            let limits: Map<String, Value> =
                device.limits.iter().map(|(name, limit)| ((*name).to_string(), json!(limit))).collect();
            line(json!({
                "device": device.name, "description": device.description, "memory_bytes": device.memory,
                "limits": limits, "features": device.features,
            }))?;
            continue;
        }
        let memory = device.memory.map(|bytes| format!(", {:.1} GiB", bytes as f64 / (1u64 << 30) as f64));
        line(format_args!("{:10} {}{}", device.name, device.description, memory.unwrap_or_default()))?;
        for (name, limit) in &device.limits {
            line(format_args!("{:10} {name}: {}", "", count(*limit)))?;
        }
        if !device.features.is_empty() {
            line(format_args!("{:10} {}", "", device.features.join(", ")))?;
        }
    }
    Ok(())
}
