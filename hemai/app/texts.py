"""All words of the page, in English and French."""

from __future__ import annotations

LANGUAGES = {"en": "English", "fr": "Français"}
TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "warning": "Research use only. Not a medical device: never use an answer for a diagnosis.",
        "about": "{network}, trained on {data}. Classes: {classes}.",
        "malignant_classes": "Malignant classes: {positive}.",
        "threshold": "Malignant: a probability of {threshold} or more (rule: {rule}).",
        "drop": "Drop images here, or choose files",
        "drop_hint": "bmp, jpg, png, tif or webp; several at once, or a folder",
        "privacy": "Images stay in the memory of this program, never on its disk, and are forgotten when it ends, "
        "or an hour after they were last looked at.",
        "sending": "Sending {done} of {total}",
        "full": "Too many or too large images at once; choose fewer",
        "large": "Files of more than 300 MB are too large and were left out",
        "reading": "Read an image as",
        "auto": "Automatic",
        "whole": "One image",
        "cells": "Its cells",
        "auto_cells": "Automatic: the network was trained on single cells. Larger images are cut into their cells, "
        "except those at the edge.",
        "auto_whole": "Automatic: the network was trained on images with {nuclei} nuclei (median), so every image is "
        "read whole.",
        "auto_unknown": "Automatic: whole images. This checkpoint does not tell whether it was trained on single "
        "cells.",
        "progress": "{done} of {total} files answered",
        "waiting": "Waiting for its turn",
        "stop": "Stop",
        "answers": "Answers",
        "details": "Details",
        "empty": "No image yet. Answers appear here.",
        "total": "{count} answers",
        "malignant": "malignant",
        "benign": "benign",
        "unsure": "unsure",
        "counted_malignant": "{count} malignant",
        "counted_benign": "{count} benign",
        "counted_unsure": "{count} unsure",
        "counted_unlike": "{count} unlike the training images",
        "counted_problem": "{count} without an answer",
        "cell": "cell {number}",
        "below_threshold": "The most probable class is {predicted}, but its probability is below the threshold.",
        "above_threshold": "The most probable class is {predicted}, but the probability of malignancy reaches the "
        "threshold.",
        "and_more": "and {count} more",
        "probability_calibrated": "Calibrated probability of malignancy",
        "probability_raw": "Probability of malignancy (not calibrated)",
        "probability_class": "Probability of this class (not calibrated)",
        "before_calibration": "Before calibration: {values}",
        "why_unsure": "Unsure: the network abstains, since it is less confident than for nine in ten images of its "
        "validation.",
        "unlike": "Unlike the training images in colour, sharpness or size of nuclei: do not rely on this answer.",
        "unlike_unknown": "This checkpoint does not tell what its training images look like, so images of another kind "
        "are not recognised.",
        "smear": "{name}: {count} cells found. Choose one to see it; cells without a number have no answer.",
        "view_image": "What the network was given",
        "view_attribution": "What speaks for {label}: the more yellow, the more (HiResCAM)",
        "view_channel": "Channel a* of the colour",
        "view_clusters": "Clusters of it (K-means)",
        "view_outline": "Nucleus found",
        "view_nucleus": "Nucleus cut out",
        "segmentation_note": "Segmentation by hemai; this network sees the whole image.",
        "segmentation_used": "Segmentation by hemai; this network sees only what is cut out.",
        "no_attribution": "Where this network looks cannot be shown: it has no map of features.",
        "download": "Download the table (csv)",
        "card": "Model card",
        "no_card": "This network has no model card; hemai report RUN_FOLDER writes one.",
        "is_pdf": "A PDF, not an image. Save its pictures as png and drop those.",
        "is_dicom": "A DICOM file. Export it as png or tif and drop that.",
        "is_heic": "A HEIC or AVIF file, as phones write. Save it as png or jpg and drop that.",
        "is_too_large": "Too large: more than {megapixels} megapixels. Cut it into tiles and drop those.",
        "is_empty": "The file is empty, or a folder that cannot be read.",
        "is_no_image": "Not an image that can be read (bmp, jpg, png, tif or webp), or truncated.",
        "is_not_predicted": "The network cannot take this image.",
        "no_cells": "No nucleus found in this image, or only at its edge.",
        "login": "hemai: user name hemai, and the password of whoever started it. Research use only.",
    },
    "fr": {
        "warning": "Pour la recherche uniquement. Ceci n'est pas un dispositif médical : ne jamais utiliser une "
        "réponse pour un diagnostic.",
        "about": "{network}, entraîné sur {data}. Classes : {classes}.",
        "malignant_classes": "Classes malignes : {positive}.",
        "threshold": "Maligne : une probabilité de {threshold} ou plus (règle : {rule}).",
        "drop": "Déposez des images ici, ou choisissez des fichiers",
        "drop_hint": "bmp, jpg, png, tif ou webp ; plusieurs à la fois, ou un dossier",
        "privacy": "Les images restent dans la mémoire de ce programme, jamais sur son disque, et sont oubliées quand "
        "il s'arrête, ou une heure après leur dernière consultation.",
        "sending": "Envoi de {done} sur {total}",
        "full": "Trop d'images à la fois, ou trop grandes ; choisissez-en moins",
        "large": "Les fichiers de plus de 300 Mo sont trop grands et ont été laissés de côté",
        "reading": "Lire une image comme",
        "auto": "Automatique",
        "whole": "Une image",
        "cells": "Ses cellules",
        "auto_cells": "Automatique : le réseau a été entraîné sur des cellules isolées. Les images plus grandes sont "
        "découpées en cellules, sauf celles du bord.",
        "auto_whole": "Automatique : le réseau a été entraîné sur des images de {nuclei} noyaux (médiane) ; chaque "
        "image est donc lue entière.",
        "auto_unknown": "Automatique : images entières. Ce modèle n'indique pas s'il a été entraîné sur des cellules "
        "isolées.",
        "progress": "{done} fichiers traités sur {total}",
        "waiting": "En attente de son tour",
        "stop": "Arrêter",
        "answers": "Réponses",
        "details": "Détails",
        "empty": "Pas encore d'image. Les réponses apparaîtront ici.",
        "total": "{count} réponses",
        "malignant": "maligne",
        "benign": "bénigne",
        "unsure": "incertain",
        "counted_malignant": "{count} malignes",
        "counted_benign": "{count} bénignes",
        "counted_unsure": "{count} incertaines",
        "counted_unlike": "{count} différentes des images d'entraînement",
        "counted_problem": "{count} sans réponse",
        "cell": "cellule {number}",
        "below_threshold": "La classe la plus probable est {predicted}, mais sa probabilité est inférieure au seuil.",
        "above_threshold": "La classe la plus probable est {predicted}, mais la probabilité de malignité atteint le "
        "seuil.",
        "and_more": "et {count} autres",
        "probability_calibrated": "Probabilité calibrée de malignité",
        "probability_raw": "Probabilité de malignité (non calibrée)",
        "probability_class": "Probabilité de cette classe (non calibrée)",
        "before_calibration": "Avant calibration : {values}",
        "why_unsure": "Incertain : le réseau s'abstient, car il est moins sûr que pour neuf sur dix des images de sa "
        "validation.",
        "unlike": "Différente des images d'entraînement par la couleur, la netteté ou la taille des noyaux : ne vous "
        "fiez pas à cette réponse.",
        "unlike_unknown": "Ce modèle n'indique pas à quoi ressemblent ses images d'entraînement : des images d'un "
        "autre genre ne sont pas reconnues.",
        "smear": "{name} : {count} cellules trouvées. Choisissez-en une pour la voir ; les cellules sans numéro n'ont "
        "pas de réponse.",
        "view_image": "Ce que le réseau a reçu",
        "view_attribution": "Ce qui parle pour {label} : plus c'est jaune, plus cela compte (HiResCAM)",
        "view_channel": "Canal a* de la couleur",
        "view_clusters": "Ses groupes (K-means)",
        "view_outline": "Noyau trouvé",
        "view_nucleus": "Noyau découpé",
        "segmentation_note": "Segmentation par hemai ; ce réseau voit l'image entière.",
        "segmentation_used": "Segmentation par hemai ; ce réseau ne voit que ce qui est découpé.",
        "no_attribution": "Ce que regarde ce réseau ne peut pas être montré : il n'a pas de carte de caractéristiques.",
        "download": "Télécharger le tableau (csv)",
        "card": "Fiche du modèle (en anglais)",
        "no_card": "Ce réseau n'a pas de fiche ; hemai report DOSSIER en écrit une.",
        "is_pdf": "Un PDF, pas une image. Enregistrez ses images en png et déposez-les.",
        "is_dicom": "Un fichier DICOM. Exportez-le en png ou tif et déposez celui-ci.",
        "is_heic": "Un fichier HEIC ou AVIF, comme en font les téléphones. Enregistrez-le en png ou jpg.",
        "is_too_large": "Trop grande : plus de {megapixels} mégapixels. Découpez-la et déposez les morceaux.",
        "is_empty": "Le fichier est vide, ou c'est un dossier illisible.",
        "is_no_image": "Pas une image lisible (bmp, jpg, png, tif ou webp), ou un fichier tronqué.",
        "is_not_predicted": "Le réseau ne peut pas traiter cette image.",
        "no_cells": "Aucun noyau trouvé dans cette image, ou seulement au bord.",
        "login": "hemai : nom d'utilisateur hemai, et le mot de passe de la personne qui l'a lancé.",
    },
}


def choose_language(accepted: str) -> str:
    """Language of a browser, from its header Accept-Language; English for others than ours."""
    wanted = [part.split(";")[0].strip()[:2].lower() for part in accepted.split(",")]
    return next((language for language in wanted if language in TEXTS), "en")
