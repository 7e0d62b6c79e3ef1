//! Validity box and recommendation. English beside Chinese.

pub(super) const VERDICTS: &[(&str, &str)] = &[
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
