//! Contraindications, published doses, findings. English beside Chinese.

pub(super) const CHECKLISTS: &[(&str, &str)] = &[
    (
        "Absolute: decompensated cirrhosis, Child-Pugh 8 points or more (one source: above 8).",
        "绝对：失代偿肝硬化，Child-Pugh 8 分及以上（另一资料：8 分以上）。",
    ),
    (
        "Absolute: jaundice, read as bilirubin above 3 mg/dL (the source names no number).",
        "绝对：黄疸，按胆红素高于 3 mg/dL（51.3 µmol/L）理解（资料未给数值）。",
    ),
    ("Absolute: hepatic encephalopathy.", "绝对：肝性脑病。"),
    ("Absolute: refractory ascites.", "绝对：顽固性腹水。"),
    ("Absolute: hepatorenal syndrome.", "绝对：肝肾综合征。"),
    ("Absolute: massive replacement of both entire lobes.", "绝对：肿瘤大量取代左右两叶。"),
    (
        "Absolute: thrombus in the main portal trunk (Vp4) or hepatofugal flow.",
        "绝对：门静脉主干癌栓（Vp4）或离肝血流。",
    ),
    (
        "Absolute: technical barrier to treatment through the hepatic artery.",
        "绝对：肝动脉入路存在技术障碍。",
    ),
    (
        "Absolute in one source, relative in the other: renal failure, creatinine of 2 mg/dL or more.",
        "一份资料为绝对、另一份为相对：肾功能衰竭，肌酐 2 mg/dL（176.8 µmol/L）及以上。",
    ),
    (
        "Relative: largest diameter of 10 cm or more (one source: above 10 cm).",
        "相对：最大径 10 cm 及以上（另一资料：大于 10 cm）。",
    ),
    ("Relative: untreated varices at high risk of bleeding.", "相对：未治疗的高出血风险静脉曲张。"),
    (
        "Relative: occluded bile duct or incompetent papilla.",
        "相对：胆道梗阻或十二指肠乳头功能不全。",
    ),
    ("Relative: severe comorbidity.", "相对：严重合并症。"),
    (
        "HAIC: oxaliplatin, mg/m² (Cao 2025; He 2017).",
        "HAIC：奥沙利铂，mg/m²（Cao 2025；He 2017）。",
    ),
    (
        "HAIC: oxaliplatin, mg/m² (Cao 2025; Li 2022).",
        "HAIC：奥沙利铂，mg/m²（Cao 2025；Li 2022）。",
    ),
    (
        "HAIC: leucovorin, mg/m² (Cao 2025, citing a trial that gave 400).",
        "HAIC：亚叶酸钙，mg/m²（Cao 2025，其引用的试验为 400）。",
    ),
    ("HAIC: leucovorin, mg/m² (Li 2022; He 2017).", "HAIC：亚叶酸钙，mg/m²（Li 2022；He 2017）。"),
    (
        "HAIC: fluorouracil bolus, mg/m² (Cao 2025; Li 2022; He 2017).",
        "HAIC：氟尿嘧啶推注，mg/m²（Cao 2025；Li 2022；He 2017）。",
    ),
    (
        "HAIC: fluorouracil over 23 or 46 h (Cao 2025) or 24 h (Li 2022), mg/m².",
        "HAIC：氟尿嘧啶持续 23 或 46 小时（Cao 2025）或 24 小时（Li 2022），mg/m²。",
    ),
    ("TACE: iodised oil, mL (Cao 2025).", "TACE：碘化油，mL（Cao 2025）。"),
    ("TACE: platinum, mg (Cao 2025).", "TACE：铂类，mg（Cao 2025）。"),
    ("TACE: epirubicin, mg (Cao 2025).", "TACE：表柔比星，mg（Cao 2025）。"),
    (
        "The supplied lesion count differs from the image's; stagings and nomograms use the supplied one.",
        "提供的病灶数与图像不符；分期与列线图采用提供值。",
    ),
    (
        "The supplied largest diameter differs from the image's; the image's is used.",
        "提供的最大径与图像不符；采用图像测量值。",
    ),
    (
        "The supplied bilirubin is below 6 µmol/L: is it in mg/dL? Correct it, or confirm it with the laboratory.",
        "提供的胆红素低于 6 µmol/L：是否误用 mg/dL？请更正，或与检验科核实。",
    ),
    (
        "HAIC every 3 weeks, until progression or intolerance (Cao 2025) or at most 6 cycles (Li 2022); TACE superselective, gelatin sponge if needed (Cao 2025).",
        "HAIC 每 3 周一次，直至进展或不耐受（Cao 2025），或最多 6 个周期（Li 2022）；TACE 为超选择性，必要时用明胶海绵（Cao 2025）。",
    ),
];
