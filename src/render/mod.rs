//! Findings → overview picture and report page.
