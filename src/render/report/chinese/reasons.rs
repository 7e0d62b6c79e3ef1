//! Reasons, and what to do about them. English beside Chinese.

pub(super) const REASONS: &[(&str, &str)] = &[
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
        "The liver does not lie in the same place in both phases: the patient moved or breathed too differently; look at the pictures, and scan again where that is justified.",
        "两期中肝脏位置不一致：患者移动或呼吸差异过大；请查看图片，确有必要时重新扫描。",
    ),
    (
        "Much of what was taken for tumour lies outside the liver: look at the pictures; a radiologist decides.",
        "判为肿瘤的部分多位于肝外：请查看图片，由放射科医师判断。",
    ),
    (
        "The tumour is like none that the classifier was trained on, so its score would mean nothing: a radiologist decides.",
        "该肿瘤与分类器训练所用的均不相似，评分无意义：由放射科医师判断。",
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
