//! The page in Chinese: every English text of the code beside its translation. A text that is missing
//! here would stay English; tests hold every sentence of the wire format and every word of a full page
//! to it.

/// The Chinese form of an English text.
pub(super) fn of(english: &str) -> Option<&'static str> {
    let groups: [&[(&str, &str)]; GROUPS] =
        [PAGE, ROWS, KEYS, VERDICTS, STAGINGS, CHECKLISTS, REASONS, MEASUREMENTS];
    let found = groups.into_iter().flatten().find(|(text, _)| *text == english);
    found.map(|(_, chinese)| *chinese)
}

const GROUPS: usize = 8;

/// The page.
const PAGE: &[(&str, &str)] = &[
    ("DEMONSTRATION - NOT FOR CLINICAL USE", "演示用途 - 不得用于临床"),
    ("Liver tumour risk report", "肝脏肿瘤风险报告"),
    ("Outcome", "结果"),
    ("Proliferative phenotype", "增殖型表型"),
    ("threshold", "阈值"),
    ("no score", "无评分"),
    ("Recommendation", "建议"),
    ("none", "无"),
    (
        "{} published absolute contraindication(s) to TACE are present: {}; not part of the recommendation.",
        "存在 {} 项文献所列 TACE 绝对禁忌证：{}；不参与建议的形成。",
    ),
    (
        "Both phases with the contours of liver and tumour, and the heat map",
        "双期图像（含肝脏与肿瘤轮廓）及热图",
    ),
    (
        "The patient's right is at the left of the axial and coronal pictures.",
        "轴位与冠状位图像中，患者的右侧位于图像左侧。",
    ),
    ("Lesions", "病灶"),
    ("Largest axial diameter", "轴位最大径"),
    ("Volume", "体积"),
    ("Slice", "层面"),
    ("Centre, RAS", "中心（RAS）"),
    ("No tumour was found.", "未发现肿瘤。"),
    ("Behind the risk score", "风险评分的依据"),
    ("Quantity", "项目"),
    ("Value", "数值"),
    ("Models", "模型"),
    ("Role", "作用"),
    ("Package", "软件包"),
    ("Intended use", "预期用途"),
    ("SHA-256", "SHA-256"),
    ("No model was run.", "未运行模型。"),
    ("Clinical data supplied", "所提供的临床资料"),
    ("Supplied", "提供值"),
    ("None.", "无。"),
    ("Measured on the images", "图像测量"),
    ("Nothing was measured.", "未作测量。"),
    ("Time per stage", "各步骤用时"),
    ("Stage", "分期"),
    ("Wall time", "用时"),
    ("Step", "步骤"),
    ("Not measured.", "未计时。"),
    ("This result", "本结果"),
    ("Fact", "项目"),
    ("Nothing recorded.", "无记录。"),
    (
        "This page is a view. The signed result beside it counts: ",
        "本页仅供查看，以同目录的签名结果为准：",
    ),
    ("Total", "合计"),
    ("yes", "是"),
    ("no", "否"),
    ("unknown", "未知"),
    ("present", "有"),
    ("absent", "无"),
    ("Points", "分值"),
    ("Nomogram with this patient's points", "列线图及本患者得分"),
    ("Months after treatment", "治疗后月数"),
    ("Predicted survival", "预测生存"),
    ("Tumour burden, supplied and measured", "肿瘤负荷：提供值与测量值"),
    ("On the images", "图像值"),
    ("Used for the stagings", "分期采用值"),
    ("Nomograms, term by term", "列线图逐项"),
    ("None was computed.", "未计算。"),
    (
        "Solid: this patient. Dashed: the reference patient. The curves come from two separate nomograms: their distance is not the effect of a treatment.",
        "实线：本患者；虚线：参考患者。两条曲线来自两个独立的列线图，其差距并非治疗效果。",
    ),
    ("Term", "变量"),
    ("Unit", "单位"),
    ("Source", "来源"),
    ("Coefficient", "系数"),
    ("Basis", "依据"),
    ("Eligibility", "适用条件"),
    ("Criterion", "条件"),
    ("Found", "实际值"),
    ("Accepted", "要求"),
    ("Met", "满足"),
    ("Not evaluated.", "未评估。"),
    ("Liver function", "肝功能"),
    ("Score", "评分"),
    ("Grade", "分级"),
    ("From", "依据"),
    ("Not computable from the clinical data given.", "现有临床资料不足，无法计算。"),
    ("Stagings", "分期"),
    ("Staging", "分期系统"),
    ("What is uncertain", "不确定之处"),
    ("None of them takes part in the recommendation.", "以上分期均不参与建议的形成。"),
    ("Published contraindications to TACE", "文献所列 TACE 禁忌证"),
    ("Contraindication", "禁忌证"),
    ("Patient", "患者"),
    (
        "A checklist for the tumour board: it decides nothing.",
        "供肿瘤多学科讨论核对，本身不作任何决定。",
    ),
    ("Published doses: reference, never an order", "文献剂量：仅供参考，绝非医嘱"),
    ("Drug and source", "药物与出处"),
    ("Published amount", "文献剂量"),
    ("Total for this body surface", "按体表面积的总量"),
    (
        "What papers gave, not what this patient should get: liver function, blood count and earlier cycles are not looked at.",
        "此为文献给药量，并非本患者应用量：未考虑肝功能、血常规及既往疗程。",
    ),
];

/// Texts of the rows.
const ROWS: &[(&str, &str)] = &[
    ("arterial and portal venous phase", "动脉期与门静脉期"),
    ("portal venous phase only", "仅门静脉期"),
    ("{} · {} voxels of {} mm", "{} · {} 体素，每个 {} mm"),
    ("No portal venous image could be read.", "未能读取门静脉期图像。"),
    ("Scored", "已评分"),
    ("No score", "未评分"),
    ("Not readable", "无法读取"),
    ("Failed", "处理失败"),
    ("proliferative", "增殖型"),
    ("non-proliferative", "非增殖型"),
    ("HAIC, poor response", "HAIC 疗效差"),
    ("HAIC, good response", "HAIC 疗效好"),
    ("TACE, poor response", "TACE 疗效差"),
    ("TACE, good response", "TACE 疗效好"),
    ("Squared distance to the prototype {}", "与原型“{}”的平方距离"),
    (
        "p(good response under {}), shown for the record, not used",
        "{} 疗效好的概率（仅作记录，未使用）",
    ),
    ("{} lesion", "{} 个病灶"),
    ("{} lesions", "{} 个病灶"),
    (" (the {} largest are listed)", "（列出最大的 {} 个）"),
    (" · liver with tumour {} · tumour {}", " · 肝脏（含肿瘤）{} · 肿瘤 {}"),
    ("finds the liver", "定位肝脏"),
    ("labels liver and tumour", "分割肝脏与肿瘤"),
    ("scores the tumour", "肿瘤评分"),
    ("nomogram", "列线图"),
    ("Decode", "解码"),
    ("Gate", "质控"),
    ("Localise", "定位"),
    ("Segment", "分割"),
    ("Measure", "测量"),
    ("Classify", "分类"),
    ("Clinical", "临床"),
    ("Masks and pictures", "掩膜与图片"),
    ("Job", "任务"),
    ("Result id", "结果编号"),
    ("Site", "机构"),
    ("Device", "设备"),
    ("Software", "软件"),
    ("Engine", "推理引擎"),
    ("Arithmetic", "运算精度"),
    ("Computed on", "运算硬件"),
    ("Analysis version", "分析版本"),
    ("demonstration only", "仅供演示"),
    ("clinical use", "临床使用"),
    ("{} (supplied)", "{}（提供值）"),
    ("{} (measured)", "{}（测量值）"),
    ("no lesion was counted", "病灶数为零"),
    ("not computable: diffuse: nodules cannot be counted", "无法计算：弥漫型，结节无法计数"),
    ("not computable: needs {}", "无法计算：缺少 {}"),
    ("Body surface {} m² (Mosteller 1987).", "体表面积 {} m²（Mosteller 1987）。"),
    ("No totals: height and weight are not both given.", "未同时提供身高和体重，故无总量。"),
    ("{} nomogram · {}", "{} 列线图 · {}"),
    ("low risk", "低风险"),
    ("high risk", "高风险"),
    ("indeterminate: too close to the cut-off to say", "不确定：过于接近截断值"),
    ("not computable: a value lies outside the fitted range", "无法计算：有数值超出拟合范围"),
    ("not computable without {}", "无法计算：缺少 {}"),
    ("not computable", "无法计算"),
    ("high risk from the cut-off up", "截断值及以上为高风险"),
    ("high risk from the cut-off down", "截断值及以下为高风险"),
    (
        "Linear predictor LP = Σ coefficient × value = {} · score {} × LP + {} = {} · cut-off {} ± {} ({}), {}",
        "线性预测值 LP = Σ 系数 × 数值 = {} · 评分 {} × LP + {} = {} · 截断值 {} ± {}（{}），{}",
    ),
    ("the paper's cut-off {}: published, never applied", "论文截断值 {}：已发表，不予采用"),
    ("{} months {} %", "{} 个月 {} %"),
    (
        "Predicted overall survival = baseline ^ e^(LP − {}), baseline {}: {}",
        "预测总生存 = 基线 ^ e^（LP − {}），基线 {}：{}",
    ),
    ("No coefficient and no cut-off is a placeholder.", "系数与截断值均非占位值。"),
    ("The cut-off is a placeholder without evidence.", "截断值为无证据的占位值。"),
    (
        "{} of {} coefficients and the cut-off are placeholders without evidence.",
        "{}/{} 个系数及截断值为无证据的占位值。",
    ),
    ("{} of {} coefficients are placeholders without evidence.", "{}/{} 个系数为无证据的占位值。"),
    ("measured on the images", "图像测量"),
    ("supplied", "提供"),
    ("missing", "缺失"),
    ("{} (outside the range)", "{}（超出范围）"),
    ("published", "已发表"),
    ("own fit", "自行拟合"),
    ("PLACEHOLDER without evidence", "无证据的占位值"),
    ("Subject", "受试者代号"),
    ("{}: {}", "{}：{}"),
    ("Male sex", "男性"),
    ("Number of lesions", "病灶数目"),
    ("Hepatitis B", "乙型肝炎"),
    ("Portal vein tumour thrombus", "门静脉癌栓"),
    ("Risk score of the network", "网络风险评分"),
    ("Called proliferative", "判为增殖型"),
    ("0 or 1", "0 或 1"),
    ("lesions", "个"),
    ("probability", "概率"),
    ("Age", "年龄"),
    ("ECOG performance status", "ECOG 体能状态"),
    ("Earlier treatment", "既往治疗"),
    ("Second malignancy", "其他活动性恶性肿瘤"),
    ("CT to treatment", "CT 至治疗间隔"),
    ("Phases", "期相"),
    ("Child-Pugh", "Child-Pugh"),
    ("not known", "未知"),
    ("{} years", "{} 岁"),
    ("{} points, class {}", "{} 分，{} 级"),
    ("{} points", "{} 分"),
    ("{} days", "{} 天"),
    ("grade {}", "{} 级"),
    ("class {}", "{} 级"),
    ("not given", "未提供"),
    ("female", "女"),
    ("male", "男"),
    ("No ascites.", "无腹水。"),
    ("Mild, or controlled by medication.", "轻度，或药物可控制。"),
    ("Moderate to severe, or refractory.", "中重度，或难治性。"),
    ("No encephalopathy.", "无肝性脑病。"),
    ("Grade 1 to 2, or suppressed by medication.", "1–2 级，或药物可控制。"),
    ("Grade 3 to 4, or refractory.", "3–4 级，或难治性。"),
    ("vp1", "Vp1"),
    ("vp2", "Vp2"),
    ("vp3", "Vp3"),
    ("vp4", "Vp4"),
    ("vv1", "Vv1"),
    ("vv2", "Vv2"),
    ("vv3", "Vv3"),
    ("one", "单叶"),
    ("both", "双叶"),
    ("both_replaced", "双叶全部被肿瘤取代"),
    ("hepatopetal", "向肝"),
    ("hepatofugal", "离肝"),
];

/// Keys of clinical.json.
const KEYS: &[(&str, &str)] = &[
    ("Age.", "年龄。"),
    ("Sex.", "性别。"),
    ("ECOG performance status.", "ECOG 体能状态。"),
    ("Hepatitis B.", "乙型肝炎。"),
    ("Alpha-fetoprotein.", "甲胎蛋白。"),
    ("AST.", "AST。"),
    ("Bilirubin.", "总胆红素。"),
    ("Albumin.", "白蛋白。"),
    ("INR.", "INR。"),
    ("Ascites.", "腹水。"),
    ("Encephalopathy.", "肝性脑病。"),
    ("Portal vein tumour thrombus.", "门静脉癌栓。"),
    ("Extrahepatic spread.", "肝外转移。"),
    ("Earlier treatment.", "既往治疗。"),
    ("Second malignancy.", "其他活动性恶性肿瘤。"),
    ("CT to treatment.", "CT 至治疗间隔。"),
    ("Number of lesions.", "病灶数目。"),
    ("Largest axial diameter.", "轴位最大径。"),
    ("Lymph node metastasis.", "淋巴结转移。"),
    ("Distant metastasis.", "远处转移。"),
    ("Hepatic vein tumour thrombus.", "肝静脉癌栓。"),
    ("Bile duct invasion.", "胆管侵犯。"),
    ("Lobes with tumour.", "受累肝叶。"),
    ("Diffuse or infiltrative type.", "弥漫或浸润型。"),
    ("Creatinine.", "肌酐。"),
    ("Refractory ascites.", "顽固性腹水。"),
    ("Hepatorenal syndrome.", "肝肾综合征。"),
    ("Flow in the portal vein.", "门静脉血流方向。"),
    ("Barrier to arterial access.", "动脉入路障碍。"),
    ("Untreated high-risk varices.", "未治疗的高危静脉曲张。"),
    ("Bile duct obstruction.", "胆道梗阻。"),
    ("Severe comorbidity.", "严重合并症。"),
    ("Height.", "身高。"),
    ("Weight.", "体重。"),
];

/// Validity box and recommendation.
const VERDICTS: &[(&str, &str)] = &[
    ("Age 18 to 75 years.", "年龄 18 至 75 岁。"),
    ("ECOG performance status 0 or 1.", "ECOG 体能状态 0 或 1。"),
    ("Child-Pugh class A or B.", "Child-Pugh A 或 B 级。"),
    ("Largest tumour diameter at least 5 cm.", "肿瘤最大径至少 5 cm。"),
    ("No earlier treatment of this tumour.", "该肿瘤未经治疗。"),
    ("No second malignancy.", "无其他活动性恶性肿瘤。"),
    ("CT at most 14 days before treatment.", "CT 距治疗不超过 14 天。"),
    ("Arterial and portal venous phase present.", "具备动脉期与门静脉期。"),
    ("No recommendation.", "无建议。"),
    ("HAIC favoured.", "倾向 HAIC。"),
    (
        "No significant difference between TACE and HAIC was shown.",
        "未显示 TACE 与 HAIC 有显著差异。",
    ),
    ("To be discussed by the tumour board.", "请多学科讨论。"),
    ("No recommendation is made for this study.", "本检查不作建议。"),
    (
        "Preliminary, for the tumour board: both nomograms say high risk; in the published cohort HAIC did better than TACE in this group.",
        "初步意见，供肿瘤多学科讨论：两个列线图均提示高风险；在已发表队列中，该组 HAIC 优于 TACE。",
    ),
    (
        "Preliminary, for the tumour board: both nomograms say low risk; the published cohort shows no significant difference between TACE and HAIC, which is not evidence that they are equal.",
        "初步意见，供肿瘤多学科讨论：两个列线图均提示低风险；已发表队列未显示 TACE 与 HAIC 有显著差异，但这并不证明二者等效。",
    ),
    (
        "Preliminary, for the tumour board: the two nomograms disagree; discuss.",
        "初步意见，供肿瘤多学科讨论：两个列线图不一致，请讨论。",
    ),
    (
        "Preliminary, for the tumour board: a nomogram lies too close to its cut-off; discuss.",
        "初步意见，供肿瘤多学科讨论：有列线图过于接近截断值，请讨论。",
    ),
    (
        "Preliminary, for the tumour board: both nomograms say high risk; the nomogram package's policy says discuss.",
        "初步意见，供肿瘤多学科讨论：两个列线图均提示高风险；按列线图软件包的策略，请讨论。",
    ),
    (
        "Preliminary, for the tumour board: both nomograms say low risk; the nomogram package's policy says discuss.",
        "初步意见，供肿瘤多学科讨论：两个列线图均提示低风险；按列线图软件包的策略，请讨论。",
    ),
    (
        "Preliminary, for the tumour board: a nomogram could not be computed because a value is missing or outside the range it was fitted on; discuss.",
        "初步意见，供肿瘤多学科讨论：因缺少数值或数值超出拟合范围，有列线图无法计算，请讨论。",
    ),
    (
        "Preliminary, for the tumour board: supplied values contradict the image or may be in another unit, see the findings; discuss.",
        "初步意见，供肿瘤多学科讨论：提供值与图像相矛盾，或单位可能有误，见所列疑点，请讨论。",
    ),
    (
        "Preliminary, for the tumour board: a value lies outside the range its nomogram was fitted on; discuss.",
        "初步意见，供肿瘤多学科讨论：有数值超出列线图的拟合范围，请讨论。",
    ),
];

/// Stagings.
const STAGINGS: &[(&str, &str)] = &[
    ("mALBI grade 1.", "mALBI 1 级。"),
    ("mALBI grade 2a.", "mALBI 2a 级。"),
    ("mALBI grade 2b.", "mALBI 2b 级。"),
    ("mALBI grade 3.", "mALBI 3 级。"),
    ("BCLC stage 0.", "BCLC 0 期。"),
    ("BCLC stage A.", "BCLC A 期。"),
    ("BCLC stage B.", "BCLC B 期。"),
    ("BCLC stage C.", "BCLC C 期。"),
    ("BCLC stage D.", "BCLC D 期。"),
    ("EASL stage 0.", "EASL 0 期。"),
    ("EASL stage A.", "EASL A 期。"),
    ("EASL stage B.", "EASL B 期。"),
    ("EASL stage C.", "EASL C 期。"),
    ("EASL stage D.", "EASL D 期。"),
    ("CNLC stage Ia.", "CNLC Ia 期。"),
    ("CNLC stage Ib.", "CNLC Ib 期。"),
    ("CNLC stage IIa.", "CNLC IIa 期。"),
    ("CNLC stage IIb.", "CNLC IIb 期。"),
    ("CNLC stage IIIa.", "CNLC IIIa 期。"),
    ("CNLC stage IIIb.", "CNLC IIIb 期。"),
    ("CNLC stage IV.", "CNLC IV 期。"),
    ("LCSGJ stage I.", "LCSGJ I 期。"),
    ("LCSGJ stage II.", "LCSGJ II 期。"),
    ("LCSGJ stage III.", "LCSGJ III 期。"),
    ("LCSGJ stage IVA.", "LCSGJ IVA 期。"),
    ("LCSGJ stage IVB.", "LCSGJ IVB 期。"),
    ("HKLC stage I.", "HKLC I 期。"),
    ("HKLC stage IIa.", "HKLC IIa 期。"),
    ("HKLC stage IIb.", "HKLC IIb 期。"),
    ("HKLC stage IIIa.", "HKLC IIIa 期。"),
    ("HKLC stage IIIb.", "HKLC IIIb 期。"),
    ("HKLC stage IVa.", "HKLC IVa 期。"),
    ("HKLC stage IVb.", "HKLC IVb 期。"),
    ("HKLC stage Va.", "HKLC Va 期。"),
    ("HKLC stage Vb.", "HKLC Vb 期。"),
    ("Sum at most 6.", "总和不超过 6。"),
    ("Sum above 6, at most 12.", "总和大于 6 且不超过 12。"),
    ("Sum above 12.", "总和大于 12。"),
    ("Within up-to-seven.", "符合 up-to-seven 标准。"),
    ("Beyond up-to-seven.", "超出 up-to-seven 标准。"),
    ("Modified ALBI grade", "改良 ALBI 分级"),
    ("BCLC 2022", "BCLC 2022"),
    ("EASL 2018", "EASL 2018"),
    ("CNLC", "中国肝癌分期 CNLC"),
    ("JSH", "日本 JSH"),
    ("HKLC", "香港肝癌分期 HKLC"),
    ("Six-and-twelve", "六与十二评分"),
    ("Up-to-seven", "Up-to-seven 标准"),
    (
        "The limit -2.27 between 2a and 2b was not found printed in a source at hand.",
        "2a 与 2b 的界值 -2.27 未在现有资料中找到原文。",
    ),
    (
        "Limits of 2 and 3 cm count as within; any Vp or Vv class counts as invasion; Child-Pugh B counts as preserved function; transplantability and the cause of an ECOG of 1 or 2 are not asked.",
        "2 cm 与 3 cm 的界值按“不超过”理解；任何 Vp 或 Vv 级别均计为侵犯；Child-Pugh B 视为肝功能保留；未询问可否移植及 ECOG 1 或 2 的原因。",
    ),
    (
        "A modified BCLC; the figure was not at hand: that its limits themselves are excluded is from memory, and Child-Pugh B counts as preserved although the figure reads A without ascites; any Vp or Vv class and an ECOG of 1 or 2 count as stage C; what Cao 2025 calls EASL is not known.",
        "改良 BCLC；未见指南原图：界值凭记忆按“小于”理解，且 Child-Pugh B 视为肝功能保留，而原图为无腹水的 A 级；任何 Vp 或 Vv 级别以及 ECOG 1 或 2 均计为 C 期；Cao 2025 所称 EASL 的含义不明。",
    ),
    (
        "Read in a secondary copy of the guideline; the limits themselves count as within; any Vp or Vv class counts as macrovascular invasion.",
        "据指南的二手文本；界值按“不超过”理解；任何 Vp 或 Vv 级别均计为大血管侵犯。",
    ),
    (
        "LCSGJ TNM; whether Cao 2025 means it or the JSH treatment algorithm is not known.",
        "采用 LCSGJ TNM；Cao 2025 所指为此还是 JSH 治疗流程不明。",
    ),
    (
        "UNVERIFIED: the tree of stages I to IIIb and V was not found in a source at hand.",
        "未核实：I 至 IIIb 期及 V 期的判定树未在现有资料中找到。",
    ),
    (
        "Made for candidates of TACE without vascular invasion or extrahepatic spread.",
        "原用于无血管侵犯及肝外转移的 TACE 候选者。",
    ),
    (
        "Published for transplantation without microvascular invasion, which is not checked.",
        "原用于无微血管侵犯的移植评估，此处未核查。",
    ),
];

/// Contraindications, doses, contradictions.
const CHECKLISTS: &[(&str, &str)] = &[
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

/// Reasons, and what to do about them.
const REASONS: &[(&str, &str)] = &[
    (
        "The study folder held no usable file: send the series again, both phases.",
        "检查文件夹内无可用文件：请重新发送两期序列。",
    ),
    (
        "The study was not complete before the deadline: check the transfer and send it again.",
        "检查未在时限内完整：请检查传输并重新发送。",
    ),
    (
        "The files are not the ones the .done marker lists: send the study again and write the marker last.",
        "文件与 .done 标记所列不符：请重新发送检查，并最后写入标记。",
    ),
    (
        "The study holds a link, a pipe or a device instead of a plain file: copy the files themselves.",
        "检查中含链接、管道或设备而非普通文件：请复制文件本身。",
    ),
    (
        "Two files could be the same phase: keep one per phase, NIfTI or DICOM, or name them in study.json.",
        "两个文件可能属于同一期相：每期仅保留一个（NIfTI 或 DICOM），或在 study.json 中指明。",
    ),
    (
        "clinical.json cannot be used: correct the field that is named here and send the study again.",
        "clinical.json 无法使用：请更正所指字段并重新发送检查。",
    ),
    (
        "There is no arterial phase: send the arterial series together with the portal venous one.",
        "缺少动脉期：请将动脉期与门静脉期序列一并发送。",
    ),
    (
        "There is no portal venous phase: send the portal venous series together with the arterial one.",
        "缺少门静脉期：请将门静脉期与动脉期序列一并发送。",
    ),
    (
        "The study holds more files than allowed: send only the two series and clinical.json.",
        "文件数超出限制：请仅发送两期序列与 clinical.json。",
    ),
    (
        "study.json cannot be used: correct it or name the files by their phase.",
        "study.json 无法使用：请更正，或以期相命名文件。",
    ),
    (
        "A file is not a NIfTI-1 image: export the series as .nii or .nii.gz.",
        "有文件不是 NIfTI-1 图像：请将序列导出为 .nii 或 .nii.gz。",
    ),
    (
        "An image file ends too early: the transfer was cut off, send it again.",
        "图像文件不完整：传输中断，请重新发送。",
    ),
    (
        "An image file is damaged (its checksum is wrong): send it again.",
        "图像文件损坏（校验和错误）：请重新发送。",
    ),
    (
        "The voxel type is not supported: export 16-bit integers.",
        "不支持该体素类型：请导出 16 位整数。",
    ),
    (
        "The image is not one three-dimensional series: export each phase by itself.",
        "图像不是单个三维序列：请将每期单独导出。",
    ),
    (
        "The image is in colour: export the original CT series, not a screenshot or a fusion.",
        "图像为彩色：请导出原始 CT 序列，而非截图或融合图。",
    ),
    (
        "The image holds numbers that are not finite: export the original CT series.",
        "图像含非有限数值：请导出原始 CT 序列。",
    ),
    (
        "The values are not Hounsfield units of a CT: check that the series is a CT with its original scaling.",
        "数值不是 CT 的 HU 值：请确认序列为原始标度的 CT。",
    ),
    (
        "The image header contradicts itself: export the series again.",
        "图像头信息自相矛盾：请重新导出序列。",
    ),
    (
        "The image does not say how it lies in the patient: export it with its orientation.",
        "图像缺少方位信息：请连同方位导出。",
    ),
    (
        "The voxel size is missing or impossible: export the series again with its voxel size.",
        "体素大小缺失或不可能：请连同体素大小重新导出。",
    ),
    (
        "The image is larger than this device accepts: send only the liver series.",
        "图像超出本设备限制：请仅发送肝脏序列。",
    ),
    (
        "The slices are too thick or too thin: reconstruct with 1 to 5 mm slices.",
        "层厚过厚或过薄：请以 1 至 5 mm 层厚重建。",
    ),
    (
        "The series has too few slices: send the whole liver, not a scout or a sample.",
        "序列层数过少：请发送整个肝脏，而非定位像或部分图像。",
    ),
    (
        "A file is not a DICOM image that can be read: export the series again, uncompressed.",
        "有文件不是可读取的 DICOM 图像：请重新导出未压缩序列。",
    ),
    (
        "Slices are missing or unevenly spaced: send the whole series again.",
        "层面缺失或间距不均：请重新发送完整序列。",
    ),
    (
        "The images are compressed in a way that is not read: export the series uncompressed or losslessly compressed.",
        "图像压缩方式无法读取：请以未压缩或无损压缩导出。",
    ),
    (
        "The images were compressed with loss, which changes what is measured: send the original series.",
        "图像经有损压缩，会改变测量结果：请发送原始序列。",
    ),
    (
        "Different images lie at the same place: export each acquisition as its own series.",
        "同一位置存在不同图像：请将每次采集导出为独立序列。",
    ),
    (
        "The slices are tilted against the table: send a series without tilt or a reformatted one.",
        "层面相对床面倾斜：请发送无倾斜或重排后的序列。",
    ),
    (
        "The two phases do not show the same region: send both phases of the same examination.",
        "两期显示的区域不同：请发送同一次检查的两期。",
    ),
    ("No liver was found: check that this is an abdominal CT.", "未发现肝脏：请确认为腹部 CT。"),
    (
        "No liver tumour was found: look at the pictures; a radiologist decides.",
        "未发现肝脏肿瘤：请查看图片，由放射科医师判断。",
    ),
    (
        "The liver is cut off at the edge of the scan: send a series that covers the whole liver.",
        "肝脏在扫描边缘被截断：请发送覆盖全肝的序列。",
    ),
    (
        "The images show no contrast enhancement: send the contrast phases.",
        "图像无增强：请发送增强期相。",
    ),
    (
        "The phases look swapped: check which series is arterial and which is portal venous.",
        "两期疑似颠倒：请核对动脉期与门静脉期。",
    ),
    (
        "The contrast phases cannot be told apart: check that two different series were sent.",
        "无法区分增强期相：请确认发送了两个不同序列。",
    ),
    (
        "Processing failed three times: keep the study and call the field engineer.",
        "处理三次失败：请保留检查并联系现场工程师。",
    ),
    (
        "Processing ended unexpectedly: keep the study and call the field engineer.",
        "处理意外终止：请保留检查并联系现场工程师。",
    ),
    (
        "Processing took too long and was stopped: send the study again; if it happens again call the field engineer.",
        "处理超时被终止：请重新发送；若再次发生请联系现场工程师。",
    ),
    (
        "Processing needs more memory than allowed: send a smaller series or call the field engineer.",
        "处理所需内存超限：请发送较小的序列或联系现场工程师。",
    ),
    (
        "The device made an error: keep the study and call the field engineer.",
        "设备出错：请保留检查并联系现场工程师。",
    ),
    (
        "A model package was refused: call the field engineer.",
        "模型软件包被拒绝：请联系现场工程师。",
    ),
    (
        "Outside the validity range: age must be 18 to 75 years.",
        "超出适用范围：年龄须为 18 至 75 岁。",
    ),
    ("Outside the validity range: ECOG must be 0 or 1.", "超出适用范围：ECOG 须为 0 或 1。"),
    (
        "Outside the validity range: Child-Pugh must be A or B.",
        "超出适用范围：Child-Pugh 须为 A 或 B 级。",
    ),
    (
        "Outside the validity range: the largest tumour must measure at least 5 cm.",
        "超出适用范围：最大肿瘤须至少 5 cm。",
    ),
    (
        "Outside the validity range: the tumour was treated before.",
        "超出适用范围：肿瘤曾接受治疗。",
    ),
    (
        "Outside the validity range: there is a second malignancy.",
        "超出适用范围：存在其他活动性恶性肿瘤。",
    ),
    (
        "Outside the validity range: the CT must be at most 14 days before treatment.",
        "超出适用范围：CT 距治疗不得超过 14 天。",
    ),
    (
        "age_years is missing in clinical.json: add it and send the study again.",
        "clinical.json 缺少 age_years：请补充并重新发送检查。",
    ),
    (
        "ecog is missing in clinical.json: add it and send the study again.",
        "clinical.json 缺少 ecog：请补充并重新发送检查。",
    ),
    (
        "Child-Pugh cannot be computed: add bilirubin, albumin, INR, ascites and encephalopathy to clinical.json.",
        "无法计算 Child-Pugh：请在 clinical.json 中补充胆红素、白蛋白、INR、腹水与肝性脑病。",
    ),
    (
        "The tumour diameter could not be measured: check the images.",
        "无法测量肿瘤直径：请检查图像。",
    ),
    (
        "prior_therapy is missing in clinical.json: add it and send the study again.",
        "clinical.json 缺少 prior_therapy：请补充并重新发送检查。",
    ),
    (
        "second_malignancy is missing in clinical.json: add it and send the study again.",
        "clinical.json 缺少 second_malignancy：请补充并重新发送检查。",
    ),
    (
        "days_ct_to_treatment is missing in clinical.json: add it and send the study again.",
        "clinical.json 缺少 days_ct_to_treatment：请补充并重新发送检查。",
    ),
];

/// What the gate measured.
const MEASUREMENTS: &[(&str, &str)] = &[
    ("Slices of the portal venous phase.", "门静脉期层数。"),
    ("Slices of the arterial phase.", "动脉期层数。"),
    ("Column spacing of the portal venous phase, mm.", "门静脉期列间距，mm。"),
    ("Row spacing of the portal venous phase, mm.", "门静脉期行间距，mm。"),
    ("Slice spacing of the portal venous phase, mm.", "门静脉期层间距，mm。"),
    ("Length of the scan along the body, mm.", "扫描体轴长度，mm。"),
    ("Liver volume including tumour, mL.", "肝脏体积（含肿瘤），mL。"),
    ("Tumour volume, mL.", "肿瘤体积，mL。"),
    (
        "Mean of the liver without tumour, portal venous phase, HU.",
        "门静脉期肝实质（不含肿瘤）均值，HU。",
    ),
    ("Mean of the liver without tumour, arterial phase, HU.", "动脉期肝实质（不含肿瘤）均值，HU。"),
    ("Mean of the tumour, portal venous phase, HU.", "门静脉期肿瘤均值，HU。"),
    ("Mean of the tumour, arterial phase, HU.", "动脉期肿瘤均值，HU。"),
    ("Standard deviation in the liver, portal venous phase, HU.", "门静脉期肝脏标准差，HU。"),
    ("1st percentile of the portal venous phase, HU.", "门静脉期第 1 百分位，HU。"),
    ("99th percentile of the portal venous phase, HU.", "门静脉期第 99 百分位，HU。"),
    ("1st percentile of the arterial phase, HU.", "动脉期第 1 百分位，HU。"),
    ("99th percentile of the arterial phase, HU.", "动脉期第 99 百分位，HU。"),
    ("Fraction of voxels below -800 HU, portal venous phase.", "门静脉期低于 -800 HU 的体素比例。"),
    (
        "Fraction of the portal grid that the arterial phase covers.",
        "动脉期覆盖门静脉期网格的比例。",
    ),
    ("Correlation of the two phases on the portal grid.", "两期在门静脉期网格上的相关系数。"),
    ("Distance between the centres of the two phases, mm.", "两期中心距离，mm。"),
    (
        "Fraction of the liver's surface that is not on the edge of the scan.",
        "肝脏表面不在扫描边缘的比例。",
    ),
    ("Fraction of the scan that is liver.", "肝脏占扫描的比例。"),
    ("Angle between the scan's axes and the patient's axes, degrees.", "扫描轴与人体轴夹角，度。"),
    ("Voxels of the portal venous phase, millions.", "门静脉期体素数，百万。"),
    ("Slice spacing of the arterial phase, mm.", "动脉期层间距，mm。"),
    ("Fraction of voxels outside -1024 to 3071 HU.", "超出 -1024 至 3071 HU 的体素比例。"),
    ("Largest axial tumour diameter, mm.", "肿瘤轴位最大径，mm。"),
    ("Connected components of the liver mask.", "肝脏掩膜连通域数。"),
    ("Enhancement of the brightest vessels, arterial phase, HU.", "动脉期最亮血管强化，HU。"),
    (
        "Enhancement of the brightest vessels, portal venous phase, HU.",
        "门静脉期最亮血管强化，HU。",
    ),
    (
        "Fraction of voxels between -100 and 300 HU, portal venous phase.",
        "门静脉期 -100 至 300 HU 的体素比例。",
    ),
    (
        "Mean of the aorta at the height of the liver, arterial phase, HU.",
        "动脉期肝脏水平主动脉均值，HU。",
    ),
    (
        "Mean of the aorta at the height of the liver, portal venous phase, HU.",
        "门静脉期肝脏水平主动脉均值，HU。",
    ),
    ("Usable CT series among the DICOM files.", "DICOM 文件中可用的 CT 序列数。"),
    ("CT series among the DICOM files that cannot be used.", "DICOM 文件中不可用的 CT 序列数。"),
    (
        "Files that are no slice of a CT series, and copies of slices.",
        "非 CT 层面的文件及重复层面数。",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stands_once_and_keeps_its_gaps() {
        let groups = [PAGE, ROWS, KEYS, VERDICTS, STAGINGS, CHECKLISTS, REASONS, MEASUREMENTS];
        let all: Vec<_> = groups.into_iter().flatten().collect();
        for (at, (english, chinese)) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|(other, _)| other != english), "{english}");
            let gaps = |text: &str| text.matches("{}").count();
            assert_eq!(gaps(english), gaps(chinese), "{english}");
            assert_eq!(english.ends_with('.'), chinese.ends_with('。'), "{english}");
        }
    }
}
