"""Every schedule by its spec name."""

PARTS: dict[str, str] = {
    "auto-lrs": "tutelage.schedules.auto_lrs:AutoLRS",
    "constant": "tutelage.schedules.constant:Constant",
    "cosine": "tutelage.schedules.cosine:Cosine",
    "decay": "tutelage.schedules.decay:Decay",
    "exponential": "tutelage.schedules.exponential:Exponential",
    "infinite": "tutelage.schedules.infinite:InfiniteLR",
    "inverse-sqrt": "tutelage.schedules.inverse_sqrt:InverseSqrt",
    "linear": "tutelage.schedules.linear:Linear",
    "one-cycle": "tutelage.schedules.one_cycle:OneCycle",
    "polynomial": "tutelage.schedules.polynomial:Polynomial",
    "power": "tutelage.schedules.power:PowerLR",
    "rewarm": "tutelage.schedules.rewarm:ReWarm",
    "rex": "tutelage.schedules.rex:REX",
    "step": "tutelage.schedules.step_decay:StepDecay",
    "uba": "tutelage.schedules.uba:UBA",
    "warmup": "tutelage.schedules.warmup:Warmup",
    "wsd": "tutelage.schedules.wsd:WSD",
}
