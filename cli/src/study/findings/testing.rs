//! A made-up study for tests.

use eigenlens_linalg::probes::gaussian;

use super::features::QUANTITIES;
use crate::study::tables::{Experiment, Row, Tables};

/// `datasets` data sets of three networks. `gap(dataset, capacity, signal)` is the gap between the scores, `signal` a standard
/// normal number that is r_e of the first layer at the end; all else is noise.
pub fn study(datasets: usize, gap: impl Fn(usize, usize, f64) -> f64) -> Tables {
    let mut tables = Tables { experiments: Vec::new(), rows: Vec::new() };
    for d in 0..datasets {
        for (k, capacity) in ["under", "adequate", "over"].into_iter().enumerate() {
            let id = 3 * d + k;
            let mut noise = vec![0.0; 400];
            gaussian(5, id as u64, &mut noise);
            let signal = noise[0];
            let train = 0.9 + 0.02 * noise[1] - if k == 0 { 0.1 } else { 0.0 };
            let test = train - gap(d, k, signal);
            let experiment = format!("set{d:02}-{capacity}");
            tables.experiments.push(Experiment {
                experiment: experiment.clone(),
                dataset: format!("set{d:02}"),
                capacity: capacity.to_owned(),
                parameters: 100 << k,
                load: 0.1 * f64::from(1 << k) * (1.0 + 0.1 * noise[2].abs()),
                status: "finished".to_owned(),
                train_loss: Some((0.5 * noise[3] - 2.0).exp()),
                test_loss: Some(0.4),
                train_score: Some(train),
                test_score: Some(test),
                gap_score: Some(train - test),
                ..example()
            });
            let mut at = 4;
            for snapshot in 0..3 {
                for (depth, layer) in ["fc1", "fc2"].into_iter().enumerate() {
                    let mut put = |quantity: &str, value: f64| {
                        tables.rows.push(Row {
                            experiment: experiment.clone(),
                            snapshot,
                            epoch: 10 * snapshot,
                            step: 100 * snapshot as u64,
                            layer: layer.to_owned(),
                            depth_index: Some(depth),
                            quantity: quantity.to_owned(),
                            value,
                            error: None,
                        });
                    };
                    put("trace", 50.0);
                    put("mean_curvature", 0.5);
                    put("gradient_norm", noise[at].exp());
                    for q in &QUANTITIES {
                        at += 1;
                        let is_signal = q.key == "r_e" && depth == 0 && snapshot == 2;
                        let value = if is_signal { signal } else { noise[at] };
                        match q.key {
                            "mean_curvature" => {}
                            "r_e" | "power_law_slope" | "gini" => put(q.key, value),
                            key => put(key, value.exp()),
                        }
                    }
                }
            }
        }
    }
    tables
}

/// An experiment whose other columns don't matter here.
fn example() -> Experiment {
    let columns = "experiment,dataset,task,capacity,depth,width,activation,init,optimizer,lr,batch_size,l2,seed,features,\
                   outputs,train_rows,validation_rows,test_rows,parameters,load,largest_layer,exact_layers,snapshots,status,\
                   reason,epochs,steps,epochs_to_converge,best_validation_epoch,metric,train_loss,validation_loss,test_loss,\
                   train_score,validation_score,test_score,gap_loss,gap_score,reference,reference_sd,tolerance,reached";
    let row = "e,d,classification,under,1,4,tanh,xavier-uniform,adam,0.01,32,0,1,4,3,100,20,20,100,0.3,50,2,3,finished,,20,\
               200,5,10,accuracy,0.5,0.5,0.5,0.9,0.9,0.9,0,0,,,,";
    let text = format!("{columns}\n{row}\n");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().next().expect("one row").expect("the columns of an experiment")
}
